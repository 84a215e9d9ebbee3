import Primitives

/// A request of the protocol that moves whole sstables of a table.
///
/// 1. The node that directs the move has the source node set aside the sstables whose tokens all move (`open`). They
///    stay readable until `close`, even if a compaction replaces them.
/// 2. It has the receiving node fetch them one by one (`pull`), which requests their pieces from the source (`piece`).
/// 3. The source's remaining data is read as rows (`rest`).
public enum StreamRequest: Sendable, Equatable {
    /// Set aside the sstables of a table whose tokens all lie in these slices, after flushing its memtable.
    case open(session: UUID, table: UUID, tokens: [TokenSlice])
    case piece(session: UUID, file: UInt32, offset: Int)
    case rest(session: UUID, ReadCommand)
    case close(session: UUID)
    /// Fetch an sstable of `bytes` bytes from another node and add it to the table.
    case pull(session: UUID, table: UUID, file: UInt32, bytes: Int, source: UUID)

    /// The greatest size of a piece in bytes.
    public static let pieceBytes = 1 << 20
    /// The greatest size of an sstable in bytes, and of all sstables of one reply.
    static let largestFile = 1 << 48

    /// Reads the size of an sstable, or the sum of several.
    static func size(from reader: inout ByteReader, adding sum: Int = 0) throws(ByteError) -> Int {
        let start = reader.offset
        let bytes = try reader.readCount()
        guard bytes <= largestFile - sum else { throw .unexpected(offset: start, expected: "the size of an sstable") }
        return bytes
    }

    func encode(into out: inout ByteWriter) {
        switch self {
        case .open(let session, let table, let tokens):
            out.write(1)
            out.write(session)
            out.write(table)
            out.writeVarint(tokens.count)
            for slice in tokens {
                out.writeBE(slice.lowerBound)
                out.writeBE(slice.upperBound)
            }
        case .piece(let session, let file, let offset):
            out.write(2)
            out.write(session)
            out.writeBE(file)
            out.writeVarint(offset)
        case .rest(let session, let command):
            out.write(3)
            out.write(session)
            command.encode(into: &out)
        case .close(let session):
            out.write(4)
            out.write(session)
        case .pull(let session, let table, let file, let bytes, let source):
            out.write(5)
            out.write(session)
            out.write(table)
            out.writeBE(file)
            out.writeVarint(bytes)
            out.write(source)
        }
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        switch try reader.readU8() {
        case 1:
            let session = try reader.readUUID()
            let table = try reader.readUUID()
            let count = try reader.readCount()
            var tokens: [TokenSlice] = []
            // No capacity is reserved for the untrusted count: each slice takes bytes, so reading fails where they end.
            for _ in 0..<count { tokens.append(try MerkleTree.tokens(from: &reader)) }
            self = .open(session: session, table: table, tokens: tokens)
        case 2: self = .piece(session: try reader.readUUID(), file: try reader.readBE(), offset: try reader.readCount())
        case 3: self = .rest(session: try reader.readUUID(), try ReadCommand(from: &reader))
        case 4: self = .close(session: try reader.readUUID())
        case 5:
            self = .pull(
                session: try reader.readUUID(), table: try reader.readUUID(), file: try reader.readBE(),
                bytes: try StreamRequest.size(from: &reader),
                source: try reader.readUUID())
        default: throw .malformedVarint(offset: reader.offset - 1)
        }
    }
}

/// The reply to a `StreamRequest`; `rest` is answered by a read answer, `close` by `done`.
public enum StreamReply: Sendable, Equatable {
    public struct StreamedFile: Sendable, Equatable {
        public var number: UInt32
        public var bytes: Int

        public init(number: UInt32, bytes: Int) {
            self.number = number
            self.bytes = bytes
        }
    }

    /// The sstables that were set aside.
    case files([StreamedFile])
    /// Bytes of the sstable; empty at its end.
    case piece([UInt8])
    /// The sstable is part of the table now.
    case pulled(rows: Int)

    func encode(into out: inout ByteWriter) {
        switch self {
        case .files(let files):
            out.write(1)
            out.writeVarint(files.count)
            for file in files {
                out.writeBE(file.number)
                out.writeVarint(file.bytes)
            }
        case .piece(let bytes):
            out.write(2)
            out.writeLengthPrefixed(bytes)
        case .pulled(let rows):
            out.write(3)
            out.writeVarint(rows)
        }
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        switch try reader.readU8() {
        case 1:
            let count = try reader.readCount()
            var files: [StreamedFile] = []
            var sum = 0
            for _ in 0..<count {
                let number: UInt32 = try reader.readBE()
                let bytes = try StreamRequest.size(from: &reader, adding: sum)
                sum += bytes
                files.append(StreamedFile(number: number, bytes: bytes))
            }
            self = .files(files)
        case 2: self = .piece(try reader.readLengthPrefixed())
        case 3: self = .pulled(rows: try reader.readCount())
        default: throw .malformedVarint(offset: reader.offset - 1)
        }
    }
}
