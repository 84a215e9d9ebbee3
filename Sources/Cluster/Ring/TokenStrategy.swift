/// How the tokens of a cluster are given to its nodes, chosen when it is made.
///
/// Source of the three: DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store" (2007), section 6.2.
public enum TokenStrategy: Hashable, Sendable, CustomStringConvertible {
    /// Each node takes this many random tokens; ranges are what lies between. Cassandra's virtual nodes, 16 by default.
    case random(tokensPerNode: Int)
    /// The ring is cut into fixed equal partitions; each node takes random tokens, and a partition belongs to the first token at or
    /// after its end.
    case randomOverPartitions(TokenGrid, tokensPerNode: Int)
    /// The ring is cut into Q fixed equal partitions and each of S nodes owns Q/S of them.
    case equalPartitions(TokenGrid)

    /// What a new cluster gets.
    public static let standard = TokenStrategy.equalPartitions(TokenGrid(count: TokenGrid.defaultCount)!)  // 256 is a power of two

    /// The grid by which the ring rounds tokens up, for `Ring.init`.
    public var ringPartitions: TokenGrid? {
        if case .randomOverPartitions(let grid, _) = self { return grid }
        return nil
    }

    public var description: String {
        switch self {
        case .random(let tokens): "random, \(tokens) tokens a node"
        case .randomOverPartitions(let grid, let tokens): "random over \(grid.count) partitions, \(tokens) tokens a node"
        case .equalPartitions(let grid): "\(grid.count) equal partitions"
        }
    }
}
