import Glibc
import Synchronization

/// The progress of an interrupted load of a file: every record before `offset` is acknowledged or refused, except those
/// in `open` and `unsent`.
struct LoadState: Equatable, Sendable {
    var size: Int
    var modified: Int
    var target: String
    var offset: Int
    var line: Int
    var rows: Int
    /// For counters only: records that were being sent. Whether they were added is unknown.
    var open: [RecordSpan] = []
    /// For counters only: records before `offset` that were not sent.
    var unsent: [RecordSpan] = []

    /// The content of the state file: one `key=value` per line.
    var text: String {
        var text =
            "auspex-load=1\nsize=\(size)\nmodified=\(modified)\ntarget=\(target)\noffset=\(offset)\nline=\(line)\nrows=\(rows)\n"
        for (key, spans) in [("open", open), ("unsent", unsent)] where !spans.isEmpty {
            text += key + "=" + spans.map { "\($0.start):\($0.end):\($0.line)" }.joined(separator: ",") + "\n"
        }
        return text
    }

    init(size: Int, modified: Int, target: String, offset: Int, line: Int, rows: Int) {
        (self.size, self.modified, self.target, self.offset, self.line, self.rows) = (
            size, modified, target, offset, line, rows
        )
    }

    /// Returns nil when the text is not a valid state.
    init?(parsing text: String) {
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { return nil }
            values[line[..<equals]] = line[line.index(after: equals)...]
        }
        func number(_ key: Substring) -> Int? { values[key].flatMap { Int($0) } }
        func spans(_ key: Substring) -> [RecordSpan]? {
            var spans: [RecordSpan] = []
            for part in (values[key] ?? "").split(separator: ",") {
                let numbers = part.split(separator: ":").compactMap { Int($0) }
                guard numbers.count == 3, numbers[0] >= 0, numbers[0] < numbers[1], numbers[2] >= 1 else { return nil }
                spans.append(RecordSpan(start: numbers[0], end: numbers[1], line: numbers[2]))
            }
            return spans
        }
        guard values["auspex-load"] == "1", let size = number("size"), let modified = number("modified"),
            let target = values["target"],
            let offset = number("offset"), let line = number("line"), let rows = number("rows"), offset >= 0, line >= 1,
            rows >= 0,
            let open = spans("open"), let unsent = spans("unsent")
        else { return nil }
        self.init(size: size, modified: modified, target: String(target), offset: offset, line: line, rows: rows)
        (self.open, self.unsent) = (open, unsent)
    }
}

/// Tracks the load of one file: acknowledged records, refused records, and the files on disk for both.
///
/// An INSERT may be sent again, so for rows it suffices to know a position before which all records are done. A counter
/// update may not be repeated: for counters (`isExact`) the state lists every chunk that is being sent, and is synced
/// to disk before the chunk's first record is sent.
///
/// **Thread safety**: any thread. **Invariant**: every record before the position in the state file was acknowledged or
/// refused, or, for counters, is in one of the listed spans.
final class LoadLedger: Sendable {
    private struct Done { let offset: Int, line: Int, rows: Int }

    private struct Books {
        var first = 0
        var later: [Int: Done] = [:]
        var prefix: LoadState
        var lastSaved: Int64 = 0
        var rows = 0
        var refused = 0
        var unknown = 0
        var bytes = 0
        var rejects: Int32 = -1
        var failure: LoadError?
    }

    private let books: Mutex<Books>
    private let statePath: String?
    let rejectPath: String
    private let maxErrors: Int?
    let isExact: Bool

    /// - Parameters:
    ///   - start: the state at the start of this run.
    ///   - statePath: nil: no state is kept.
    ///   - isExact: whether the records are counter updates.
    init(start: LoadState, statePath: String?, rejectPath: String, maxErrors: Int?, isExact: Bool = false) {
        self.isExact = isExact
        books = Mutex(Books(prefix: start))
        self.statePath = statePath
        self.rejectPath = rejectPath
        self.maxErrors = maxErrors
    }

    deinit { books.withLock { if $0.rejects >= 0 { close($0.rejects) } } }

    var totals: (rows: Int, refused: Int, bytes: Int) {
        books.withLock { ($0.rows, $0.refused + $0.unknown, $0.bytes) }
    }
    /// The number of counter updates with unknown outcome.
    var unknown: Int { books.withLock { $0.unknown } }
    var failure: LoadError? { books.withLock { $0.failure } }

    /// Stops all workers with this error.
    func fail(_ error: LoadError) { books.withLock { if $0.failure == nil { $0.failure = error } } }

    /// Adds acknowledged rows to the running total.
    func acknowledge(rows: Int) { books.withLock { $0.rows += rows } }

    /// Returns the next chunk of a source, nil at its end. For counters, first records on disk that the chunk is being
    /// sent.
    func take(_ source: RecordSource) throws(LoadError) -> RecordChunk? {
        if !isExact { return try source.next() }
        return try books.withLock { (books) throws(LoadError) in
            guard let chunk = try source.next() else { return nil }
            let span = RecordSpan(start: chunk.place.startOffset, end: chunk.endOffset, line: chunk.firstLine)
            books.prefix.unsent.removeAll { $0.start == span.start }
            books.prefix.open.append(span)
            if span.end > books.prefix.offset {
                books.prefix.offset = span.end
                books.prefix.line = chunk.endLine
            }
            guard statePath == nil || save(books.prefix, isSynced: true) else {
                throw .input(
                    "cannot write the state file \(statePath ?? ""), without which counts could be added twice: \(systemReason())"
                )
            }
            return chunk
        }
    }

    /// Records that every record of a chunk was acknowledged or refused.
    func complete(_ chunk: RecordChunk.Place, rows: Int, now: Int64) {
        books.withLock { books in
            books.bytes += chunk.byteCount
            if isExact {
                books.prefix.open.removeAll { $0.start == chunk.startOffset }
                books.prefix.rows += rows
            } else {
                books.later[chunk.index] = Done(offset: chunk.endOffset, line: chunk.endLine, rows: rows)
                while let done = books.later.removeValue(forKey: books.first) {
                    books.first += 1
                    books.prefix.offset = done.offset
                    books.prefix.line = done.line
                    books.prefix.rows += done.rows
                }
            }
            if now - books.lastSaved > 500_000_000 {
                books.lastSaved = now
                save(books.prefix)
            }
        }
    }

    /// Records that the end of a chunk, `span`, was not sent.
    func leave(_ chunk: RecordChunk.Place, unsent span: RecordSpan, rows: Int) {
        books.withLock { books in
            books.prefix.open.removeAll { $0.start == chunk.startOffset }
            books.prefix.rows += rows
            books.prefix.unsent.append(span)
        }
    }

    /// Writes the current state to disk.
    func save() { books.withLock { _ = save($0.prefix) } }

    /// Removes the state file after the whole file is loaded.
    func finish() { if let statePath { unlink(statePath) } }

    @discardableResult private func save(_ state: LoadState, isSynced: Bool = false) -> Bool {
        guard let statePath else { return false }
        let temporary = statePath + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        let isWritten = LoadLedger.write(state.text, to: descriptor) && (!isSynced || fsync(descriptor) == 0)
        close(descriptor)
        return isWritten && rename(temporary, statePath) == 0
    }

    private func systemReason() -> String { String(cString: strerror(errno)) }

    /// Records a counter update with unknown outcome in the reject file.
    func doubt(line: Int, reason: String, record: String) {
        note(line, "outcome unknown: \(reason)", record) { $0.unknown += 1 }
    }

    /// Records a refused record in the reject file: its line number, the reason and the record, separated by tabs.
    func reject(line: Int, reason: String, record: String) { note(line, reason, record) { $0.refused += 1 } }

    private func note(_ line: Int, _ reason: String, _ record: String, _ count: (inout Books) -> Void) {
        books.withLock { books in
            count(&books)
            let errors = books.refused + books.unknown
            if let maxErrors, errors > maxErrors, books.failure == nil { books.failure = .tooManyErrors(errors) }
            if books.rejects < 0 { books.rejects = open(rejectPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600) }
            guard books.rejects >= 0,
                LoadLedger.write(
                    "\(line)\t\(LoadLedger.escaped(reason))\t\(LoadLedger.escaped(record))\n", to: books.rejects)
            else {
                if books.failure == nil {
                    books.failure = .input(
                        "cannot write the reject file \(rejectPath): \(String(cString: strerror(errno)))")
                }
                return
            }
        }
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\t", with: "\\t").replacing("\n", with: "\\n").replacing(
            "\r", with: "\\r")
    }

    private static func write(_ text: String, to descriptor: Int32) -> Bool {
        var copy = text
        return copy.withUTF8 { bytes in
            var written = 0
            while written < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return false }
                written += count
            }
            return true
        }
    }
}
