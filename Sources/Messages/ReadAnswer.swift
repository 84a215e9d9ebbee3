import DataModel
import Primitives

/// What a replica holds of a stretch of keys: rows with their deletions, and the range tombstones over them.
///
/// The operations are encoded as those of a mutation (`MutationFormat`), so that what a replica lacks is sent to it as it stands.
/// Rows come in ascending key order, also when the stretch was read from its end.
public struct ReadAnswer: Sendable, Equatable {
    /// How far the replica read: the whole range when nil. Going forward, all keys below it; in reverse, all keys not below it.
    public var coveredTo: [UInt8]?
    /// `row` operations in order of their keys, then `deleteRange` operations in order of their starts.
    public var operations: [UInt8]
    public var rowCount: Int

    public init(coveredTo: [UInt8]?, operations: [UInt8], rowCount: Int) {
        self.coveredTo = coveredTo
        self.operations = operations
        self.rowCount = rowCount
    }

    /// A hash of everything the answer says; equal on replicas that hold the same.
    public var digest: UUID {
        var all = ByteWriter(capacity: operations.count + 64)
        all.writeCounted(coveredTo ?? [])
        all.write(coveredTo == nil ? 0 : 1)
        all.write(operations)
        return UUID(high: Checksum.xxh3(all.bytes, seed: 0x4449_4745), low: Checksum.xxh3(all.bytes, seed: 0x5354))
    }

    /// The keys the answer speaks for.
    public func covered(of command: ReadCommand) -> KeyRange {
        guard let coveredTo else { return command.range }
        return command.reversed
            ? KeyRange(start: coveredTo, end: command.range.end) : KeyRange(start: command.range.start, end: coveredTo)
    }

    func encode(into out: inout ByteWriter) {
        out.write(coveredTo == nil ? 0 : 1)
        if let coveredTo { out.writeCounted(coveredTo) }
        out.writeVarint(rowCount)
        out.writeCounted(operations)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        coveredTo = try reader.readU8() == 0 ? nil : try reader.readCounted()
        rowCount = try reader.readCount()
        operations = try reader.readCounted()
        // Whatever another node sends is checked once, here; merging trusts rows.
        try operations.withReader { (operations) throws(ByteError) in
            while let operation = try MutationReader.operation(from: &operations) {
                if case .row(_, let row) = operation { try RowView.validate(row) }
            }
        }
    }
}
