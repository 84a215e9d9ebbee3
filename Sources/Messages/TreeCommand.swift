import Primitives

/// What one replica is asked to hash: a stretch of tokens of one table.
public struct TreeCommand: Sendable, Equatable {
    public var table: UUID
    public var tokens: TokenSlice
    /// The tree has 2^depth leaves, fewer when there are not as many tokens; at most `MerkleTree.largestDepth`.
    public var depth: Int
    /// Deletions older than this, in seconds since 1970, are left out, as `ReadCommand.gcBefore` leaves them out.
    public var gcBefore: UInt32
    /// Seconds since 1970 at which times to live are judged: the same on all replicas.
    public var now: UInt32

    public init(table: UUID, tokens: TokenSlice, depth: Int, gcBefore: UInt32, now: UInt32) {
        self.table = table
        self.tokens = tokens
        self.depth = depth
        self.gcBefore = gcBefore
        self.now = now
    }

    func encode(into out: inout ByteWriter) {
        out.write(table)
        out.writeBE(tokens.lowerBound)
        out.writeBE(tokens.upperBound)
        out.write(UInt8(depth))
        out.writeBE(gcBefore)
        out.writeBE(now)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        table = try reader.readUUID()
        tokens = try MerkleTree.tokens(from: &reader)
        depth = try MerkleTree.depth(from: &reader)
        gcBefore = try reader.readBE()
        now = try reader.readBE()
    }
}
