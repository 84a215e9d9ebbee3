import DataModel
import Primitives

/// A request to read a range of keys of one table from one replica, up to a number of rows and bytes.
public struct ReadCommand: Sendable, Equatable {
    public var table: UUID
    public var range: KeyRange
    /// Whether to read from the end of the range to its start.
    public var reversed: Bool
    /// The number of rows after which the replica stops and reports how far it came; at least 1. Dead rows count, since
    /// they are sent as well.
    public var rowLimit: Int
    /// The number of bytes after which the replica stops; rows are never split.
    public var byteLimit: Int
    /// Deletions older than this are not sent, since every replica has had time to learn of them. Seconds since 1970.
    public var gcBefore: UInt32
    /// The time at which all replicas judge expiry (TTL), in seconds since 1970.
    public var now: UInt32

    public init(
        table: UUID, range: KeyRange, reversed: Bool = false, rowLimit: Int,
        byteLimit: Int = ReadCommand.defaultByteLimit,
        gcBefore: UInt32, now: UInt32
    ) {
        self.table = table
        self.range = range
        self.reversed = reversed
        self.rowLimit = rowLimit
        self.byteLimit = byteLimit
        self.gcBefore = gcBefore
        self.now = now
    }

    /// Whether the range contains exactly one key, that of a row.
    public var isOneKey: Bool {
        let (start, end) = (range.start, range.end)
        guard end.count == start.count + 1, end.last == 0 else { return false }
        return start.withUnsafeBytes { start in
            let count = KeyView.partitionCount(of: start)
            guard count >= KeyView.partitionHeaderBytes && start.count > count else { return false }
            return end.withUnsafeBytes {
                compareBytes(start, UnsafeRawBufferPointer(rebasing: $0[..<start.count])) == 0
            }
        }
    }

    public static let defaultByteLimit = 1 << 20
    /// The greatest `rowLimit`; larger values are reduced to it.
    public static let largestRowLimit = 10_000

    func encode(into out: inout ByteWriter) {
        out.write(table)
        out.writeLengthPrefixed(range.start)
        out.writeLengthPrefixed(range.end)
        out.write(reversed ? 1 : 0)
        out.writeVarint(rowLimit)
        out.writeVarint(byteLimit)
        out.writeBE(gcBefore)
        out.writeBE(now)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        table = try reader.readUUID()
        range = KeyRange(start: try reader.readLengthPrefixed(), end: try reader.readLengthPrefixed())
        reversed = try reader.readU8() != 0
        rowLimit = min(max(1, try reader.readCount()), ReadCommand.largestRowLimit)
        byteLimit = min(max(1, try reader.readCount()), 64 << 20)
        gcBefore = try reader.readBE()
        now = try reader.readBE()
    }
}
