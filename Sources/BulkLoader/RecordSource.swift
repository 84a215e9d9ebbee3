import Primitives
import Synchronization

/// A sequence of complete records of a file.
struct RecordChunk: Sendable {
    /// The number of the chunk in the file, from 0.
    let index: Int
    let bytes: [UInt8]
    /// The number of the chunk's first line in the file, from 1.
    let firstLine: Int
    /// The number of the line after the chunk.
    let endLine: Int
    /// The offset of the chunk's end in the (decompressed) file.
    let endOffset: Int

    /// The position of a chunk.
    struct Place: Sendable {
        let index: Int
        let byteCount: Int
        let endLine: Int
        let endOffset: Int
        var startOffset: Int { endOffset - byteCount }
    }

    var place: Place { Place(index: index, byteCount: bytes.count, endLine: endLine, endOffset: endOffset) }

    /// Encodes the chunk's records one after another into `out`, until `visit` returns false.
    /// - Parameter visit: receives the outcome, the record's first line, its text, and its encoded values.
    func records(
        with encoder: inout RowEncoder, into out: inout ByteWriter,
        _ visit: (_ outcome: RowEncoder.Outcome, _ line: Int, _ record: () -> String, _ values: UnsafeRawBufferPointer)
            -> Bool
    ) {
        var line = firstLine
        bytes.withUnsafeBytes { raw in
            var offset = 0
            while offset < raw.count {
                let start = offset
                let startLine = line
                out.removeAll()
                let outcome = encoder.encode(raw, offset: &offset, line: &line, into: &out)
                let end = offset
                if !visit(outcome, startLine, { RecordChunk.text(raw[start..<end]) }, out.bytes) { return }
            }
        }
    }

    /// Returns a record without its line end.
    static func text(_ record: Slice<UnsafeRawBufferPointer>) -> String {
        var record = record
        while let last = record.last, last == 0x0A || last == 0x0D { record.removeLast() }
        return String(decoding: record, as: UTF8.self)
    }
}

/// The position of complete records in a file.
struct RecordSpan: Sendable, Equatable {
    var start: Int
    var end: Int
    /// The number of the first line.
    var line: Int
}

/// Splits a file into chunks of complete records and hands them to whichever worker asks first.
///
/// **Thread safety**: any thread; chunks are produced one at a time under a lock.
final class RecordSource: Sendable {
    static let chunkBytes = 256 << 10
    /// The chunk size for counters; smaller, since the outcome of a whole chunk is unknown if the loader is killed
    /// while sending it.
    static let countedChunkBytes = 16 << 10
    /// A longer record is taken for one with an unclosed quote.
    static let maxRecordBytes = 64 << 20

    /// How records are delimited.
    enum Framing: Sendable {
        case csv(CSVDialect)
        /// Every line is a record.
        case lines
    }

    private struct State: ~Copyable {
        var file: InputFile
        var rest: [UInt8] = []
        var isAtEnd = false
        var nextIndex = 0
        var nextLine = 1
        var offset = 0
        var chunkBytes = RecordSource.chunkBytes
        /// Chunks read for a preview or put back, returned before any others; the next one is last.
        var previewed: [RecordChunk] = []
    }

    let path: String
    let framing: Framing
    private let state: Mutex<State>

    init(_ path: String, framing: Framing) throws(LoadError) {
        self.path = path
        self.framing = framing
        state = Mutex(State(file: try InputFile(path)))
    }

    /// The size on disk and the modification time, used to recognize the file; a nil size means that it is not a
    /// regular file.
    var identity: (size: Int?, modified: Int) { state.withLock { ($0.file.size, $0.file.modified) } }

    /// The offset and line of the next chunk.
    var nextPlace: (offset: Int, line: Int) { state.withLock { ($0.offset, $0.nextLine) } }

    /// Bytes read from disk, and the file's size; nil when unknown.
    var progress: (done: Int, total: Int)? {
        state.withLock { state in
            guard let total = state.file.size, let done = state.file.position else { return nil }
            return (done, total)
        }
    }

    /// Continues at `offset`, which must be the end of a chunk of an earlier run.
    func restart(at offset: Int, line: Int) throws(LoadError) {
        try state.withLock { (state) throws(LoadError) in
            if state.file.seek(offset) {
                state.rest = []
                state.isAtEnd = false
            } else {
                // A decompressor's output cannot be sought, only skipped. The header and more may have been read
                // already.
                var left = offset - state.offset
                guard left >= 0 else {
                    throw .input(
                        "\(self.path) cannot be resumed at byte \(offset); remove its state file to start over")
                }
                let held = min(left, state.rest.count)
                state.rest.removeFirst(held)
                left -= held
                var discarded: [UInt8] = []
                while left > 0 {
                    discarded.removeAll(keepingCapacity: true)
                    let got = try state.file.read(into: &discarded, limit: min(left, 1 << 20))
                    guard got > 0 else {
                        throw .input(
                            "\(self.path) is shorter than the part loaded before; remove its state file to start over")
                    }
                    left -= got
                }
            }
            state.offset = offset
            state.nextLine = line
            state.nextIndex = 0
        }
    }

    /// Passes chunks to `look` until it returns false or the file ends. `next` returns all of them again.
    func preview(_ look: (RecordChunk) -> Bool) throws(LoadError) {
        try state.withLock { (state) throws(LoadError) in
            var seen: [RecordChunk] = []
            while let chunk = try self.next(&state) {
                seen.append(chunk)
                if !look(chunk) { break }
            }
            state.previewed = seen.reversed()
        }
    }

    /// Produces smaller chunks from now on, for counters.
    func useSmallChunks() { state.withLock { $0.chunkBytes = RecordSource.countedChunkBytes } }

    /// Reads the records of a span. In a compressed file the span must lie after everything read so far.
    func read(_ span: RecordSpan) throws(LoadError) -> RecordChunk {
        try restart(at: span.start, line: span.line)
        return try state.withLock { (state) throws(LoadError) in
            while state.rest.count < span.end - span.start, !state.isAtEnd { try self.readMore(&state) }
            guard state.rest.count >= span.end - span.start else {
                throw .input("\(self.path) is shorter than the part loaded before; remove its state file to start over")
            }
            return self.cut(&state, span.end - span.start)
        }
    }

    /// Makes `next` return these chunks before any others.
    func putBack(_ chunks: [RecordChunk]) { state.withLock { $0.previewed = chunks.reversed() + $0.previewed } }

    /// Removes and returns the first record.
    func takeFirst() throws(LoadError) -> RecordChunk? {
        try state.withLock { (state) throws(LoadError) in
            while true {
                if let end = self.firstRecordEnd(state.rest, isLast: state.isAtEnd) {
                    defer { state.nextIndex = 0 }
                    return self.cut(&state, end)
                }
                if state.isAtEnd { return nil }
                try self.readMore(&state)
            }
        }
    }

    /// Returns the next chunk; nil at the end of the file.
    func next() throws(LoadError) -> RecordChunk? {
        try state.withLock { (state) throws(LoadError) in
            if let chunk = state.previewed.popLast() { return chunk }
            return try self.next(&state)
        }
    }

    private func next(_ state: inout State) throws(LoadError) -> RecordChunk? {
        while true {
            if state.isAtEnd { return state.rest.isEmpty ? nil : cut(&state, state.rest.count) }
            if state.rest.count >= state.chunkBytes {
                // If more was read than a chunk needs, take only the size of one chunk.
                let isAhead = state.rest.count > 2 * state.chunkBytes
                if isAhead, let end = lastRecordEnd(Array(state.rest[..<state.chunkBytes])) { return cut(&state, end) }
                if let end = lastRecordEnd(state.rest) { return cut(&state, end) }
            }
            guard state.rest.count <= RecordSource.maxRecordBytes else {
                throw .input(
                    "\(path): the record at line \(state.nextLine) is longer than \(RecordSource.maxRecordBytes) bytes; is a quote not closed?"
                )
            }
            try readMore(&state)
        }
    }

    private func readMore(_ state: inout State) throws(LoadError) {
        if try state.file.read(into: &state.rest, limit: max(state.chunkBytes, state.rest.count)) == 0 {
            state.isAtEnd = true
        }
    }

    private func cut(_ state: inout State, _ end: Int) -> RecordChunk {
        let bytes = end == state.rest.count ? state.rest : Array(state.rest[..<end])
        if end == state.rest.count { state.rest = [] } else { state.rest.removeFirst(end) }
        state.offset += end
        let firstLine = state.nextLine
        state.nextLine += bytes.withUnsafeBytes { raw in
            var lines = 0
            for byte in raw where byte == 0x0A { lines += 1 }
            return lines
        }
        let chunk = RecordChunk(
            index: state.nextIndex, bytes: bytes, firstLine: firstLine, endLine: state.nextLine, endOffset: state.offset
        )
        state.nextIndex += 1
        return chunk
    }

    private func lastRecordEnd(_ bytes: [UInt8]) -> Int? {
        bytes.withUnsafeBytes { raw in
            switch framing {
            case .csv(let dialect): return dialect.lastRecordEnd(raw)
            case .lines:
                var end = raw.count
                while end > 0 { if raw[end - 1] == 0x0A { return end } else { end -= 1 } }
                return nil
            }
        }
    }

    private func firstRecordEnd(_ bytes: [UInt8], isLast: Bool) -> Int? {
        guard !bytes.isEmpty else { return nil }
        return bytes.withUnsafeBytes { raw -> Int? in
            switch framing {
            case .lines:
                guard let end = raw.firstIndex(of: 0x0A) else { return isLast ? raw.count : nil }
                return end + 1
            case .csv(let dialect):
                var scratch = ByteWriter(capacity: 64)
                var offset = 0
                while true {
                    let field = dialect.field(raw, from: offset, scratch: &scratch)
                    if field.isLast {
                        let isWhole = field.next < raw.count || raw[raw.count - 1] == 0x0A
                        return isWhole || isLast ? field.next : nil
                    }
                    offset = field.next
                }
            }
        }
    }
}
