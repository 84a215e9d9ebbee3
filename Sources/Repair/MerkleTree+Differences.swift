import Messages

extension MerkleTree {
    /// The depth for a table that seems empty here: another replica may hold much.
    static let smallestDepth = 6

    /// Returns the smallest depth that gives every partition a leaf, within the limits.
    /// - Parameter partitions: the estimated number of partitions in the tree's tokens; nil when unknown.
    static func depth(partitions: Int?) -> Int {
        guard let partitions else { return 12 }
        var depth = smallestDepth
        while depth < largestDepth, 1 << depth < partitions { depth += 1 }
        return depth
    }

    /// Returns the slices of tokens in which any two trees differ. Neighbouring leaves with the same groups are joined.
    /// - Precondition: all trees have the same tokens and depth.
    static func differences(among trees: [MerkleTree]) -> [TreeDifference] {
        guard let first = trees.first else { return [] }
        for tree in trees {
            precondition(tree.tokens == first.tokens && tree.depth == first.depth, "trees of different shapes")
        }
        var found: [TreeDifference] = []
        var isJoined = false
        for index in first.leaves.indices {
            let differs = trees.dropFirst().contains { !$0.leaves[index].isSame(as: first.leaves[index]) }
            if differs {
                let tokens = first.tokens(ofLeaf: index)
                let groups = groups(trees, index)
                if isJoined, let last = found.last, last.groups == groups {
                    found[found.count - 1].tokens = last.tokens.lowerBound...tokens.upperBound
                } else {
                    found.append(TreeDifference(tokens: tokens, groups: groups))
                }
            }
            isJoined = differs
        }
        return found
    }

    private static func groups(_ trees: [MerkleTree], _ leaf: Int) -> [Int] {
        var groups: [Int] = []
        var firsts: [Leaf] = []
        for tree in trees {
            let its = tree.leaves[leaf]
            if let group = firsts.firstIndex(where: { $0.isSame(as: its) }) {
                groups.append(group)
            } else {
                groups.append(firsts.count)
                firsts.append(its)
            }
        }
        return groups
    }

    /// Returns the tokens in which two trees of the same shape differ.
    public func differences(from other: MerkleTree) -> [TokenSlice] {
        MerkleTree.differences(among: [self, other]).map(\.tokens)
    }
}

/// A slice of tokens in which not all trees are the same.
struct TreeDifference: Sendable, Equatable {
    var tokens: TokenSlice
    /// The group of each tree. Trees of one group agree. Groups are numbered from 0 in the order of their first trees.
    var groups: [Int]

    /// The index of the first tree of each group.
    var firsts: [Int] { (0...(groups.max() ?? 0)).compactMap { groups.firstIndex(of: $0) } }
}
