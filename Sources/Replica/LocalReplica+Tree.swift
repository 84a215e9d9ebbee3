import DataModel
import Messages
import Primitives
import Storage

extension LocalReplica {
    /// The maximum number of parts in which a tree is read, and about how many bytes of the table each part has. Each
    /// part is a separate scan, so that no file or memtable is held for the whole time, and only one part's range
    /// tombstones are in memory.
    private static let treeParts = 128
    private static let treePartBytes = 16 << 20

    /// Builds a Merkle tree over a range of tokens, hashing what `answer` would return, for a repair that compares
    /// replicas.
    ///
    /// Reads the whole range and waits for the disk: call it on a background thread. Memory: the tree, one row, and the
    /// range tombstones of one part. Concurrent writes may or may not be included.
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
