import Messages

extension MerkleTree {
    /// Even of a table that seems empty here: another replica may hold much.
    static let smallestDepth = 6

    /// The depth that gives every partition a leaf, within the limits.
    /// - Parameter partitions: an estimate for the tokens of the tree; nil when there is none.
    static func depth(partitions: Int?) -> Int {
        guard let partitions else { return 12 }
        var depth = smallestDepth
        while depth < largestDepth, 1 << depth < partitions { depth += 1 }
        return depth
    }

    /// The tokens in which not all trees are the same; neighbouring leaves are joined.
    /// - Precondition: all are of the same tokens and depth.
    static func differences(among trees: [MerkleTree]) -> [TokenSlice] {
        guard let first = trees.first else { return [] }
        for tree in trees { precondition(tree.tokens == first.tokens && tree.depth == first.depth, "trees of different shapes") }
        var found: [TokenSlice] = []
        var isJoined = false
        for index in first.leaves.indices {
            let differs = trees.dropFirst().contains { !$0.leaves[index].isSame(as: first.leaves[index]) }
            if differs {
                let tokens = first.tokens(ofLeaf: index)
                if isJoined, let last = found.popLast() {
                    found.append(last.lowerBound...tokens.upperBound)
                } else {
                    found.append(tokens)
                }
            }
            isJoined = differs
        }
        return found
    }

    /// The tokens in which two trees of the same shape differ.
    public func differences(from other: MerkleTree) -> [TokenSlice] { MerkleTree.differences(among: [self, other]) }
}
