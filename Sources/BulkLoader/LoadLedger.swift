import Glibc
import Synchronization

/// How far an interrupted load of a file had come: all before this place is acknowledged.
struct LoadState: Equatable, Sendable {
    var size: Int
    var modified: Int
    var target: String
    var offset: Int
    var line: Int
    var rows: Int

    /// The form of the state file; a line each, `key=value`.
    var text: String {
        "auspex-load=1\nsize=\(size)\nmodified=\(modified)\ntarget=\(target)\noffset=\(offset)\nline=\(line)\nrows=\(rows)\n"
    }

    init(size: Int, modified: Int, target: String, offset: Int, line: Int, rows: Int) {
        (self.size, self.modified, self.target, self.offset, self.line, self.rows) = (size, modified, target, offset, line, rows)
    }

    /// nil when the text is no state of this form.
    init?(parsing text: String) {
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { return nil }
            values[line[..<equals]] = line[line.index(after: equals)...]
        }
        func number(_ key: Substring) -> Int? { values[key].flatMap { Int($0) } }
        guard values["auspex-load"] == "1", let size = number("size"), let modified = number("modified"), let target = values["target"],
            let offset = number("offset"), let line = number("line"), let rows = number("rows"), offset >= 0, line >= 1, rows >= 0
        else { return nil }
        self.init(size: size, modified: modified, target: String(target), offset: offset, line: line, rows: rows)
    }
}

/// Keeps the books of one file's load: what is acknowledged, what was refused, and both on disk.
///
/// **Thread safety**: any thread. **Invariant**: the state file names a place before which every record was acknowledged or refused.
final class LoadLedger: Sendable {
    private struct Done { let offset: Int, line: Int, rows: Int }

    private struct Books {
        var first = 0
        var later: [Int: Done] = [:]
        var prefix: LoadState
        var lastSaved: Int64 = 0
        var rows = 0
        var refused = 0
        var bytes = 0
        var rejects: Int32 = -1
        var failure: LoadError?
    }

    private let books: Mutex<Books>
    private let statePath: String?
    let rejectPath: String
    private let maxErrors: Int?

    /// - Parameters:
    ///   - start: where this run begins.
    ///   - statePath: nil: not kept.
    init(start: LoadState, statePath: String?, rejectPath: String, maxErrors: Int?) {
        books = Mutex(Books(prefix: start))
        self.statePath = statePath
        self.rejectPath = rejectPath
        self.maxErrors = maxErrors
    }

    deinit { books.withLock { if $0.rejects >= 0 { close($0.rejects) } } }

    var totals: (rows: Int, refused: Int, bytes: Int) { books.withLock { ($0.rows, $0.refused, $0.bytes) } }
    var failure: LoadError? { books.withLock { $0.failure } }

    /// Stops all workers with this.
    func fail(_ error: LoadError) { books.withLock { if $0.failure == nil { $0.failure = error } } }

    /// Adds acknowledged rows to the running total.
    func acknowledge(rows: Int) { books.withLock { $0.rows += rows } }

    /// A chunk of which every record was acknowledged or refused.
    func complete(_ chunk: RecordChunk, rows: Int, now: Int64) {
        books.withLock { books in
            books.bytes += chunk.bytes.count
            books.later[chunk.index] = Done(offset: chunk.endOffset, line: chunk.endLine, rows: rows)
            while let done = books.later.removeValue(forKey: books.first) {
                books.first += 1
                books.prefix.offset = done.offset
                books.prefix.line = done.line
                books.prefix.rows += done.rows
            }
            if now - books.lastSaved > 500_000_000 {
                books.lastSaved = now
                save(books.prefix)
            }
        }
    }

    /// Writes the state as it is now.
    func save() { books.withLock { save($0.prefix) } }

    /// Removes the state: all of the file is loaded.
    func finish() { if let statePath { unlink(statePath) } }

    private func save(_ state: LoadState) {
        guard let statePath else { return }
        let temporary = statePath + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        let isWritten = LoadLedger.write(state.text, to: descriptor)
        close(descriptor)
        if isWritten { rename(temporary, statePath) }
    }

    /// Notes a refused record: its line, why, and the record itself, between tabs.
    func reject(line: Int, reason: String, record: String) {
        books.withLock { books in
            books.refused += 1
            if let maxErrors, books.refused > maxErrors, books.failure == nil { books.failure = .tooManyErrors(books.refused) }
            if books.rejects < 0 { books.rejects = open(rejectPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600) }
            guard books.rejects >= 0,
                LoadLedger.write("\(line)\t\(LoadLedger.escaped(reason))\t\(LoadLedger.escaped(record))\n", to: books.rejects)
            else {
                if books.failure == nil {
                    books.failure = .input("cannot write the reject file \(rejectPath): \(String(cString: strerror(errno)))")
                }
                return
            }
        }
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\t", with: "\\t").replacing("\n", with: "\\n").replacing("\r", with: "\\r")
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
