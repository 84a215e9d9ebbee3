import Primitives

/// A request to one replica to hash a slice of tokens of one table.
public struct TreeCommand: Sendable, Equatable {
    public var table: UUID
    public var tokens: TokenSlice
    /// The tree has 2^depth leaves, or fewer if there are fewer tokens. At most `MerkleTree.largestDepth`.
    public var depth: Int
    /// Deletions older than this are left out, as in `ReadCommand.gcBefore`. Seconds since 1970.
    public var gcBefore: UInt32
    /// The time at which all replicas judge expiry (TTL), in seconds since 1970.
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
