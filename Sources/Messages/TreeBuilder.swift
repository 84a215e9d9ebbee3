import DataModel
import Primitives

/// Builds a tree from rows and range tombstones, added in any order.
///
/// It hashes what a replica would answer to a `ReadCommand` with the same `gcBefore` and `now`: rows merged over all
/// sstables, under their deletions, and range tombstones without overlap (`RangeDeletions`). So replicas with equal
/// data have equal leaves, whatever their files look like. A row is hashed without the timestamp it stores once for
/// several cells, since that depends on how the row was written; each cell is hashed with its own timestamp.
public struct TreeBuilder: ~Copyable {
    private var tree: MerkleTree
    private var scratch = ByteWriter(capacity: 512)
    /// The leaf of the last token and that leaf's tokens; the next row usually has the same leaf.
    private var leaf = 0
    private var leafTokens: TokenSlice

    public init(_ command: TreeCommand) {
        tree = MerkleTree(tokens: command.tokens, depth: command.depth)
        leafTokens = tree.tokens(ofLeaf: 0)
    }

    /// Returns the tokens as parts of whole leaves, at most `count`. Reading one part after another releases resources
    /// in between.
    public func parts(atMost count: Int) -> [TokenSlice] {
        var parts = tree.leaves.count
        while parts > max(1, count) { parts /= 2 }
        return (0..<parts).map { tree.tokens.part($0, of: parts) }
    }

    public mutating func add(key: UnsafeRawBufferPointer, row: RowView) {
        scratch.removeAll()
        scratch.write(row.hasLiveness ? 1 : 0)
        scratch.writeLE(row.livenessTimestamp)
        scratch.writeLE(row.livenessTTL)
        scratch.writeLE(row.livenessExpires)
        ReadAnswer.hash(key, row, into: &scratch)
        add(token: KeyView(key).token, rows: 1, bytes: key.count + row.bytes.count)
    }

    /// Adds a range tombstone of `RangeDeletions`. The caller leaves out those older than `gcBefore`.
    public mutating func add(_ span: RangeTombstone) {
        scratch.removeAll()
        scratch.write(2)
        scratch.writeLengthPrefixed(span.start)
        scratch.writeLengthPrefixed(span.end)
        scratch.writeLE(span.deletion.timestamp)
        scratch.writeLE(span.deletion.localDeletion)
        let token = span.start.withUnsafeBytes { KeyView($0).token }
        add(token: token, rows: 0, bytes: span.start.count + span.end.count)
    }

    private mutating func add(token: Int64, rows: Int, bytes: Int) {
        // A tombstone clipped to the tree's first keys may start before any token, and a corrupt key may have any
        // token.
        let token = min(max(token, tree.tokens.lowerBound), tree.tokens.upperBound)
        if !leafTokens.contains(token) {
            leaf = tree.leafIndex(of: token)
            leafTokens = tree.tokens(ofLeaf: leaf)
        }
        tree.leaves[leaf].high &+= Checksum.xxh3(scratch.bytes, seed: 0x5452_4545)
        tree.leaves[leaf].low &+= Checksum.xxh3(scratch.bytes, seed: 0x4c45_4146)
        tree.leaves[leaf].rows += rows
        tree.leaves[leaf].bytes += bytes
    }

    public consuming func finish() -> MerkleTree { tree }
}
