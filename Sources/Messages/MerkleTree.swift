import Primitives

/// Hashes of a replica's data in a slice of tokens: one hash for each of the 2^depth equal parts, called leaves.
///
/// Only leaves are kept and sent: they are compared one by one, so inner nodes would add no information. The page
/// "TreeFormat" describes the encoding.
public struct MerkleTree: Sendable, Equatable {
    /// One part of the tokens.
    public struct Leaf: Sendable, Equatable {
        /// The sums of the hashes of all rows and range tombstones, with two seeds; both zero when there are none. A
        /// sum does not depend on the order.
        public var high: UInt64 = 0
        public var low: UInt64 = 0
        public var rows = 0
        /// The bytes of keys and rows as this replica stores them. Replicas with equal data may count differently.
        public var bytes = 0

        public init() {}

        public var isEmpty: Bool { self == Leaf() }
        /// Returns whether both leaves stand for equal data.
        public func isSame(as other: Leaf) -> Bool { high == other.high && low == other.low }
    }

    /// 32,768 leaves: a tree takes at most 1 MiB in memory and about 700 KiB in a message.
    public static let largestDepth = 15
    /// The greatest row or byte count that all leaves together may claim, so that sums over many trees do not
    /// overflow.
    static let largestCount = 1 << 47

    public let tokens: TokenSlice
    public let depth: Int
    public internal(set) var leaves: [Leaf]

    /// Creates an empty tree.
    /// - Parameter depth: reduced if there are fewer tokens than leaves.
    public init(tokens: TokenSlice, depth: Int) {
        precondition(depth >= 0 && depth <= MerkleTree.largestDepth, "a tree of depth \(depth)")
        self.tokens = tokens
        self.depth = MerkleTree.depth(depth, over: tokens)
        leaves = [Leaf](repeating: Leaf(), count: 1 << self.depth)
    }

    /// Returns the depth of a tree that is requested with `depth`.
    static func depth(_ depth: Int, over tokens: TokenSlice) -> Int {
        var depth = depth
        while tokens.tokenCount < UInt128(1 << depth) { depth -= 1 }
        return depth
    }

    /// Returns whether the tree has the tokens and the depth that the command requests.
    public func hasShape(of command: TreeCommand) -> Bool {
        tokens == command.tokens && depth == MerkleTree.depth(command.depth, over: command.tokens)
    }

    public func tokens(ofLeaf index: Int) -> TokenSlice { tokens.part(index, of: leaves.count) }

    /// Returns the index of the leaf that contains a token.
    public func leafIndex(of token: Int64) -> Int {
        precondition(tokens.contains(token), "\(token) is not in \(tokens)")
        let offset = UInt128(UInt64(bitPattern: token &- tokens.lowerBound))
        return Int((offset << UInt128(depth)) / tokens.tokenCount)
    }

    public var isEmpty: Bool { leaves.allSatisfy(\.isEmpty) }
    public var rows: Int { leaves.reduce(0) { $0 + $1.rows } }
    public var bytes: Int { leaves.reduce(0) { $0 + $1.bytes } }

    // MARK: Encoding

    public func encode(into out: inout ByteWriter) {
        out.writeBE(tokens.lowerBound)
        out.writeBE(tokens.upperBound)
        out.write(UInt8(depth))
        out.writeVarint(leaves.reduce(0) { $0 + ($1.isEmpty ? 0 : 1) })
        var next = 0
        for (index, leaf) in leaves.enumerated() where !leaf.isEmpty {
            out.writeVarint(index - next)
            out.writeBE(leaf.high)
            out.writeBE(leaf.low)
            out.writeVarint(leaf.rows)
            out.writeVarint(leaf.bytes)
            next = index + 1
        }
    }

    /// - Throws: `ByteError` when the bytes are not a tree.
    public init(from reader: inout ByteReader) throws(ByteError) {
        let tokens = try MerkleTree.tokens(from: &reader)
        let depth = try MerkleTree.depth(from: &reader)
        self.init(tokens: tokens, depth: depth)
        guard self.depth == depth else { throw .malformedVarint(offset: reader.offset) }
        let count = try reader.readCount()
        guard count <= leaves.count else { throw .malformedVarint(offset: reader.offset) }
        var next = 0
        var rows = 0
        var bytes = 0
        for _ in 0..<count {
            let gap = try reader.readCount()
            guard gap < leaves.count - next else { throw .malformedVarint(offset: reader.offset) }
            var leaf = Leaf()
            leaf.high = try reader.readBE()
            leaf.low = try reader.readBE()
            leaf.rows = try reader.readCount()
            leaf.bytes = try reader.readCount()
            guard leaf.rows <= MerkleTree.largestCount - rows, leaf.bytes <= MerkleTree.largestCount - bytes,
                !leaf.isEmpty
            else { throw .unexpected(offset: reader.offset, expected: "a possible number of rows and bytes") }
            rows += leaf.rows
            bytes += leaf.bytes
            leaves[next + gap] = leaf
            next += gap + 1
        }
    }

    static func tokens(from reader: inout ByteReader) throws(ByteError) -> TokenSlice {
        let first: Int64 = try reader.readBE()
        let last: Int64 = try reader.readBE()
        guard first <= last else { throw .malformedVarint(offset: reader.offset) }
        return first...last
    }

    static func depth(from reader: inout ByteReader) throws(ByteError) -> Int {
        let depth = Int(try reader.readU8())
        guard depth <= largestDepth else { throw .malformedVarint(offset: reader.offset - 1) }
        return depth
    }
}
