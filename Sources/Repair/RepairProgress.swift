import Messages
import Primitives

/// The finished part of a job. Save it while the job runs and pass it to the job after a restart to skip that part.
///
///     progress := version (1 byte, 0x01) count (varint) table*
///     table    := id (16 bytes) count (varint) { first (8 bytes, big-endian) last (8) }*
///
/// Tables ascend by id. Slices ascend, with at least one token missing between two of them.
public struct RepairProgress: Sendable, Equatable {
    /// Part of the file format; do not change.
    private static let version: UInt8 = 1

    /// The finished tokens of each table.
    public private(set) var done: [UUID: TokenSet] = [:]

    public init() {}

    public var isEmpty: Bool { done.isEmpty }

    /// Returns the parts of `tokens` that are not finished.
    public func missing(of tokens: TokenSlice, table: UUID) -> [TokenSlice] {
        done[table]?.missing(of: tokens) ?? [tokens]
    }

    public mutating func insert(_ tokens: TokenSlice, table: UUID) { done[table, default: TokenSet()].insert(tokens) }

    public func encode() -> [UInt8] {
        var out = ByteWriter(capacity: 64)
        out.write(RepairProgress.version)
        out.writeVarint(done.count)
        for (table, tokens) in done.sorted(by: { $0.key < $1.key }) {
            out.write(table)
            tokens.encode(into: &out)
        }
        return out.toArray()
    }

    /// - Throws: `ByteError` when the bytes are not an encoded progress.
    public init(_ bytes: [UInt8]) throws(ByteError) {
        done = try bytes.withReader { (reader) throws(ByteError) in
            guard try reader.readU8() == RepairProgress.version else { throw .malformedVarint(offset: 0) }
            var done: [UUID: TokenSet] = [:]
            var last: UUID?
            for _ in 0..<(try reader.readCount()) {
                let start = reader.offset
                let table = try reader.readUUID()
                let tokens = try TokenSet(from: &reader)
                guard !tokens.isEmpty, last.map({ $0 < table }) ?? true else { throw .malformedVarint(offset: start) }
                done[table] = tokens
                last = table
            }
            guard reader.isAtEnd else { throw .malformedVarint(offset: reader.offset) }
            return done
        }
    }
}
