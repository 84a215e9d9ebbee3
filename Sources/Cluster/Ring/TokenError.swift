import Primitives

/// Why tokens cannot be given or taken now.
public enum TokenError: Error, Hashable, CustomStringConvertible {
    /// Partitions pass from node to node one change at a time.
    case changeUnderWay(UUID)
    /// Each node must own at least one partition.
    case tooManyNodes(partitions: Int, nodes: Int)
    /// The node's data center owns tokens that are not ends of partitions.
    case foreignToken(Int64, owner: UUID)
    case unknownNode(UUID)

    public var description: String {
        switch self {
        case .changeUnderWay(let id): "node \(id) is joining, leaving or moving; wait until it is done"
        case .tooManyNodes(let partitions, let nodes):
            "\(partitions) partitions cannot be divided among \(nodes) nodes; make the cluster with more partitions"
        case .foreignToken(let token, let owner): "token \(token) of node \(owner) is not the end of a partition of this cluster"
        case .unknownNode(let id): "no node of the ring has host id \(id)"
        }
    }
}
