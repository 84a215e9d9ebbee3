import DataModel
import Primitives

/// Makes a tree of rows and range tombstones, in any order.
///
/// Hashed is what a replica would answer to a `ReadCommand` with the same `gcBefore` and `now`: rows merged over all files, under their
/// deletions, and range tombstones without overlap (`RangeDeletions`). So replicas that hold the same have the same leaves, whatever their files look like.
/// A row is hashed without the timestamp it stores once for several cells, since that depends on how it was written; each cell has its own.
public struct TreeBuilder: ~Copyable {
    private var tree: MerkleTree
    private var scratch = ByteWriter(capacity: 512)
    /// The leaf of the last token, and its tokens: most rows follow one of the same leaf.
    private var leaf = 0
    private var leafTokens: TokenSlice

    public init(_ command: TreeCommand) {
        tree = MerkleTree(tokens: command.tokens, depth: command.depth)
        leafTokens = tree.tokens(ofLeaf: 0)
    }

    /// The tokens in parts of whole leaves: whoever reads one after the other holds on to nothing for long.
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

    /// Adds a span of `RangeDeletions`; one that is older than `gcBefore` is the caller's to leave out.
    public mutating func add(_ span: RangeTombstone) {
        scratch.removeAll()
        scratch.write(2)
        scratch.writeCounted(span.start)
        scratch.writeCounted(span.end)
        scratch.writeLE(span.deletion.timestamp)
        scratch.writeLE(span.deletion.localDeletion)
        let token = span.start.withUnsafeBytes { KeyView($0).token }
        add(token: token, rows: 0, bytes: span.start.count + span.end.count)
    }

    private mutating func add(token: Int64, rows: Int, bytes: Int) {
        // A span that was cut to the tree's first keys begins before any token, and a damaged key has any.
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
