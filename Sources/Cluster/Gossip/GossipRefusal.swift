import Messages
import Primitives

/// News that was not believed.
public enum GossipRefusal: Hashable, Sendable, CustomStringConvertible {
    /// News of a life of the node that is over. Ignored.
    case lowerGeneration(Endpoint, offered: Int64, known: Int64)
    /// Nobody starts a year from now.
    case generationTooFarAhead(Endpoint, offered: Int64, limit: Int64)
    case clusterNameMismatch(Endpoint, theirs: String, ours: String)
    case partitionerMismatch(Endpoint, theirs: String, ours: String)
    /// A second node with a host id that is in use. The one already known stays, the newcomer is not listened to for a while.
    case hostIDConflict(UUID, known: Endpoint, newcomer: Endpoint)

    public var description: String {
        switch self {
        case .lowerGeneration(let endpoint, let offered, let known):
            "news of \(endpoint) in generation \(offered) ignored: it is known in generation \(known)"
        case .generationTooFarAhead(let endpoint, let offered, let limit):
            "news of \(endpoint) in generation \(offered) refused: at most \(limit) is plausible now; check the clocks of both nodes"
        case .clusterNameMismatch(let endpoint, let theirs, let ours):
            "\(endpoint) belongs to cluster '\(theirs)', this node to '\(ours)'; check cluster_name and seeds of both"
        case .partitionerMismatch(let endpoint, let theirs, let ours):
            "\(endpoint) uses partitioner \(theirs), this node \(ours); they cannot share a cluster"
        case .hostIDConflict(let id, let known, let newcomer):
            "\(newcomer) has the host id \(id) of \(known), which is alive: refused. Was a data directory copied? Give the newcomer an empty one"
        }
    }
}
