import DataModel
import Primitives

/// One message to a replica that lacks data.
struct RepairWrite: Sendable {
    /// Whole encoded mutations.
    var mutations: [UInt8]
    var volume: RepairVolume
}

enum RepairWrites {
    /// Splits operations into messages of at most `limit` bytes or a single operation. Each mutation holds one
    /// partition.
    /// - Throws: `ByteError` when the operations do not parse; those of the reconciler always do.
    static func messages(_ operations: [UInt8], table: UUID, limit: Int) throws(ByteError) -> [RepairWrite] {
        var messages: [RepairWrite] = []
        var writer = MutationWriter(capacity: min(operations.count + 64, limit + 64))
        var volume = RepairVolume()
        var partition: [UInt8]?
        func finish() {
            if partition == nil { return }
            writer.endTable()
            volume.bytes = writer.count
            messages.append(RepairWrite(mutations: writer.out.toArray(), volume: volume))
            writer.removeAll()
            volume = RepairVolume()
            partition = nil
        }
        func begin(_ key: UnsafeRawBufferPointer, bytes: Int) {
            if partition != nil, writer.count + bytes + 20 > limit { finish() }
            let its = UnsafeRawBufferPointer(rebasing: key[..<KeyView.partitionCount(of: key)])
            if let partition, partition.withUnsafeBytes({ compareBytes($0, its) == 0 }) { return }
            if partition != nil { writer.endTable() }
            writer.beginTable(table)
            partition = [UInt8](its)
        }
        try operations.withReader { (reader) throws(ByteError) in
            while let operation = try MutationReader.operation(from: &reader) {
                switch operation {
                case .row(let key, let row):
                    begin(key, bytes: 9 + key.count + row.count)
                    writer.row(key: key, encoded: row)
                    volume.rows += 1
                case .deleteRange(let start, let end, let deletion):
                    begin(start, bytes: 21 + start.count + end.count)
                    writer.deleteRange(start: start, end: end, deletion: deletion)
                    volume.deletions += 1
                }
            }
        }
        finish()
        return messages
    }
}
