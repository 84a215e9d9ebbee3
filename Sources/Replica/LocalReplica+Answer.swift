import DataModel
import Messages
import Primitives
import Storage

extension LocalReplica {
    /// Reads a range of keys of this node, for a coordinator that compares it with the answers of others.
    /// - Parameter excluded: ids of sstables to leave out.
    public func answer(_ command: ReadCommand, excluding excluded: Set<UInt32> = []) throws(ReplicaError) -> ReadAnswer
    {
        guard let table = engine.table(command.table) else { throw .unknownTable(command.table) }
        do { try engine.checkLogged(command.table, command.range) } catch { throw LocalReplica.convert(error) }
        let purge = PurgeRule(gcBefore: command.gcBefore, maxPurgeableTimestamp: .max, now: command.now)
        if excluded.isEmpty, command.isOneKey { return try answer(command, of: table, purge: purge) }
        var out = MutationWriter(capacity: 1024)
        var places: [Range<Int>] = []
        var lastKey: [UInt8] = []
        var isFull = false
        do throws(StorageError) {
            try table.scan(
                command.range, reversed: command.reversed, purge: purge, excluding: excluded
            ) { key, row in
                if places.count >= command.rowLimit || out.count >= command.byteLimit {
                    isFull = true
                    return false
                }
                let start = out.count
                out.row(key: key, encoded: row.bytes)
                places.append(start..<out.count)
                lastKey = [UInt8](key)
                return true
            }
        } catch { throw LocalReplica.convert(error) }
        let coveredTo: [UInt8]? = isFull ? (command.reversed ? lastKey : lastKey + [0]) : nil
        if command.reversed {
            // Answers are merged in ascending order.
            var upwards = MutationWriter(capacity: out.count + 64)
            for place in places.reversed() { upwards.out.write(UnsafeRawBufferPointer(rebasing: out.out.bytes[place])) }
            swap(&out, &upwards)
        }
        var answer = ReadAnswer(coveredTo: coveredTo, operations: [], rowCount: places.count)
        try addDeletions(to: &out, in: answer.covered(of: command), command, of: table, excluding: excluded)
        answer.operations = out.out.toArray()
        return answer
    }

    /// Adds the range tombstones of a range to an answer. Must run after reading the rows: a deletion applied in
    /// between then hides rows that were read, and a newer row is never hidden by accident.
    private func addDeletions(
        to out: inout MutationWriter, in range: KeyRange, _ command: ReadCommand, of table: TableStore,
        excluding excluded: Set<UInt32> = []
    ) throws(ReplicaError) {
        let deletions: RangeDeletions
        do throws(StorageError) {
            deletions = try table.rangeDeletions(in: range, excluding: excluded)
        } catch { throw LocalReplica.convert(error) }
        for span in deletions.spans where span.deletion.localDeletion >= command.gcBefore {
            out.deleteRange(KeyRange(start: span.start, end: span.end), deletion: span.deletion)
        }
    }

    /// Answers a read of one key with the same bytes as a scan of it.
    private func answer(_ command: ReadCommand, of table: TableStore, purge: PurgeRule) throws(ReplicaError)
        -> ReadAnswer
    {
        var out = MutationWriter(capacity: 512)
        var answer = ReadAnswer(coveredTo: nil, operations: [], rowCount: 0)
        do throws(StorageError) {
            try command.range.start.withUnsafeBytesTyped { (key) throws(StorageError) in
                try table.get(key, purge: purge) { row in
                    out.row(key: key, encoded: row.bytes)
                    answer.rowCount = 1
                }
            }
        } catch { throw LocalReplica.convert(error) }
        try addDeletions(to: &out, in: command.range, command, of: table)
        answer.operations = out.out.toArray()
        return answer
    }
}
