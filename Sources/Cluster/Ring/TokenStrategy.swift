/// How a cluster assigns tokens to its nodes. Chosen when the cluster is created.
///
/// Source of the three: DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store" (2007), section 6.2.
public enum TokenStrategy: Hashable, Sendable, CustomStringConvertible {
    /// Each node takes this many random tokens and owns the ranges that end in them. Cassandra's virtual nodes, 16 by
    /// default.
    case random(tokensPerNode: Int)
    /// The ring has fixed equal partitions; each node takes random tokens, and a partition belongs to the owner of the
    /// first token at or after its end.
    case randomOverPartitions(TokenGrid, tokensPerNode: Int)
    /// The ring has Q fixed equal partitions, and each of S nodes owns Q / S of them.
    case equalPartitions(TokenGrid)

    /// The greatest number of random tokens a node may take. Metadata with more is refused: a node that joins would
    /// have to draw them all.
    static let tokensPerNodeLimit = 1 << 16

    /// The strategy of a new cluster.
    // 256 is a power of two.
    public static let standard = TokenStrategy.equalPartitions(TokenGrid(count: TokenGrid.defaultCount)!)

    /// The partitions by which the ring rounds tokens up, for `Ring.init`; nil for the other strategies.
    public var ringPartitions: TokenGrid? {
        if case .randomOverPartitions(let grid, _) = self { return grid }
        return nil
    }

    public var description: String {
        switch self {
        case .random(let tokens): "random, \(tokens) tokens a node"
        case .randomOverPartitions(let grid, let tokens):
            "random over \(grid.count) partitions, \(tokens) tokens a node"
        case .equalPartitions(let grid): "\(grid.count) equal partitions"
        }
    }
}
