import Messages
import Primitives

/// What of a job is done: kept somewhere while it runs, and given back after a restart, so that it is not done again.
///
///     progress := version (1 byte, 0x01) count (varint) table*
///     table    := id (16 bytes) count (varint) { first (8 bytes, big-endian) last (8) }*      ascending, with tokens missing in between
public struct RepairProgress: Sendable, Equatable {
    /// Part of the file format; do not change.
    private static let version: UInt8 = 1

    /// Tokens done, by table.
    public private(set) var done: [UUID: TokenSet] = [:]

    public init() {}

    public var isEmpty: Bool { done.isEmpty }

    /// What of `tokens` is still to do.
    public func missing(of tokens: TokenSlice, table: UUID) -> [TokenSlice] { done[table]?.missing(of: tokens) ?? [tokens] }

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

    /// - Throws: `ByteError` where the bytes are not what `encode` gives.
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
