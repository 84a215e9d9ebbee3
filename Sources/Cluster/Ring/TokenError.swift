import Primitives

/// Why tokens cannot be assigned.
public enum TokenError: Error, Hashable, CustomStringConvertible {
    /// Another change is under way; partitions change owners in one change at a time.
    case changeUnderWay(UUID)
    /// Fewer partitions than nodes; each node must own at least one.
    case tooManyNodes(partitions: Int, nodes: Int)
    /// A node of the data center owns a token that is not the end of a partition.
    case foreignToken(Int64, owner: UUID)
    case unknownNode(UUID)
    /// Too few of the partitions of a data center have an owner who could give one up.
    case unownedPartitions(of: Int)

    public var description: String {
        switch self {
        case .changeUnderWay(let id): "node \(id) is joining, leaving or replacing another; wait until it is done"
        case .tooManyNodes(let partitions, let nodes):
            "\(partitions) partitions cannot be divided among \(nodes) nodes; make the cluster with more partitions"
        case .foreignToken(let token, let owner):
            "token \(token) of node \(owner) is not the end of a partition of this cluster"
        case .unknownNode(let id): "no node of the ring has host id \(id)"
        case .unownedPartitions(let count): "too few of the \(count) partitions of a data center have an owner"
        }
    }
}
