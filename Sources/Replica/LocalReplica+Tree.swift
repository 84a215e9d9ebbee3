import DataModel
import Messages
import Primitives
import Storage

extension LocalReplica {
    /// The most stretches a tree is read in, and about how many bytes of the table each has. Each is a scan of its own, so that no file or memtable is
    /// held on to for the whole time, and range tombstones are in memory for one at a time.
    private static let treeParts = 128
    private static let treePartBytes = 16 << 20

    /// Hashes what this node holds of a stretch of tokens, as `answer` would give it: for a repair that compares it with what others hold.
    ///
    /// Reads the whole stretch and waits for the disk: for background threads. Memory: the tree, a row, and the range tombstones of one part.
    /// What is written meanwhile may be in the tree or not.
    public func tree(_ command: TreeCommand) throws(ReplicaError) -> MerkleTree {
        guard let table = engine.table(command.table) else { throw .unknownTable(command.table) }
        let purge = PurgeRule(gcBefore: command.gcBefore, maxPurgeableTimestamp: .max, now: command.now)
        var builder = TreeBuilder(command)
        let bytes = table.memtableBytes + table.tables.reduce(0) { $0 + $1.fileBytes }
        for part in builder.parts(atMost: min(LocalReplica.treeParts, 1 + bytes / LocalReplica.treePartBytes)) {
            do throws(StorageError) {
                try table.scan(part.keys, reversed: false, purge: purge, isBulk: true) { key, row in
                    builder.add(key: key, row: row)
                    return true
                }
                let deletions = try table.rangeDeletions(in: part.keys)
                for span in deletions.spans where span.deletion.localDeletion >= command.gcBefore { builder.add(span) }
            } catch { throw LocalReplica.convert(error) }
        }
        return builder.finish()
    }
}
