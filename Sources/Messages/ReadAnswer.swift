import DataModel
import Primitives

/// A replica's data in a range of keys: rows with their deletions, and the range tombstones over them.
///
/// Operations are encoded as in a mutation (page "MutationFormat"), so they can be sent unchanged to a replica that
/// lacks them. Rows are in ascending key order, also when the range was read in reverse.
public struct ReadAnswer: Sendable, Equatable {
    /// How far the replica read; nil means the whole range. Forward: all keys below this key; in reverse: all keys not
    /// below it.
    public var coveredTo: [UInt8]?
    /// `row` operations in key order, then `deleteRange` operations in the order of their starts.
    public var operations: [UInt8]
    public var rowCount: Int

    public init(coveredTo: [UInt8]?, operations: [UInt8], rowCount: Int) {
        self.coveredTo = coveredTo
        self.operations = operations
        self.rowCount = rowCount
    }

    /// A hash of the whole answer; equal on replicas with equal data.
    ///
    /// A row without liveness keeps a base timestamp that may come from a cell long gone, so each of its cells is
    /// hashed with its own timestamp. Otherwise replicas with equal data could differ forever.
    public var digest: UUID {
        var all = ByteWriter(capacity: operations.count + 64)
        all.writeLengthPrefixed(coveredTo ?? [])
        all.write(coveredTo == nil ? 0 : 1)
        operations.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            do throws(ByteError) {
                while true {
                    let start = reader.offset
                    guard let operation = try MutationReader.operation(from: &reader) else { break }
                    if case .row(let key, let row) = operation, !RowView(row).hasLiveness {
                        ReadAnswer.hash(key, RowView(row), into: &all)
                    } else {
                        all.write(UnsafeRawBufferPointer(rebasing: bytes[start..<reader.offset]))
                    }
                }
            } catch { all.write(bytes) }  // unreachable: answers hold whole operations
        }
        return UUID(high: Checksum.xxh3(all.bytes, seed: 0x4449_4745), low: Checksum.xxh3(all.bytes, seed: 0x5354))
    }

    /// Writes a row without its liveness in the form that is hashed: equal for equal rows, whatever their encoding.
    static func hash(_ key: UnsafeRawBufferPointer, _ row: RowView, into all: inout ByteWriter) {
        all.write(3)
        all.writeVarint(key.count)
        all.write(key)
        all.writeLE(row.deletion.timestamp)
        all.writeLE(row.deletion.localDeletion)
        var cursor = row.cells
        while cursor.advance() {
            all.write(1)
            all.writeVarint(cursor.column)
            all.write(cursor.flags.subtracting(.sameTimestamp).rawValue)
            all.writeLE(cursor.timestamp)
            all.writeLE(cursor.ttl)
            all.writeLE(cursor.localDeletion)
            all.writeVarint(cursor.path.count)
            all.write(cursor.path)
            all.writeVarint(cursor.value.count)
            all.write(cursor.value)
        }
        all.write(0)
    }

    /// Returns the operations as whole encoded mutations of a table, one partition each.
    public func mutations(of table: UUID) throws(ByteError) -> [UInt8] {
        try operations.withReader { (reader) throws(ByteError) in
            var writer = MutationWriter(capacity: operations.count + 256)
            var partition: [UInt8]?
            while let operation = try MutationReader.operation(from: &reader) {
                let own = KeyView(operation.key).partition
                if partition.map({ $0.withUnsafeBytes { compareBytes($0, own) != 0 } }) ?? true {
                    if partition != nil { writer.endTable() }
                    writer.beginTable(table)
                    partition = [UInt8](own)
                }
                switch operation {
                case .row(let key, let row): writer.row(key: key, encoded: row)
                case .deleteRange(let start, let end, let deletion):
                    writer.deleteRange(start: start, end: end, deletion: deletion)
                }
            }
            if partition != nil { writer.endTable() }
            return writer.out.toArray()
        }
    }

    /// Returns the keys the answer covers.
    public func covered(of command: ReadCommand) -> KeyRange {
        guard let coveredTo else { return command.range }
        return command.reversed
            ? KeyRange(start: coveredTo, end: command.range.end) : KeyRange(start: command.range.start, end: coveredTo)
    }

    func encode(into out: inout ByteWriter) {
        out.write(coveredTo == nil ? 0 : 1)
        if let coveredTo { out.writeLengthPrefixed(coveredTo) }
        out.writeVarint(rowCount)
        out.writeLengthPrefixed(operations)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        coveredTo = try reader.readU8() == 0 ? nil : try reader.readLengthPrefixed()
        rowCount = try reader.readCount()
        operations = try reader.readLengthPrefixed()
        // Untrusted input is validated once, here: merging relies on valid rows, repairs write the operations, and
        // callers rely on the row count.
        var rows = 0
        do throws(ByteError) {
            try operations.withReader { (operations) throws(ByteError) in
                while let operation = try MutationReader.operation(from: &operations) {
                    try operation.validate(endingAt: operations.offset)
                    if case .row = operation { rows += 1 }
                }
            }
        } catch { throw error.moved(by: reader.offset - operations.count) }
        guard rows == rowCount else {
            throw .unexpected(offset: reader.offset - operations.count, expected: "\(rowCount) rows")
        }
    }
}
