import Messages
import Primitives

/// Why the gossiper did not accept a node's state.
public enum GossipRefusal: Hashable, Sendable, CustomStringConvertible {
    /// The state belongs to an earlier run of the node and is ignored.
    case lowerGeneration(Endpoint, offered: Int64, known: Int64)
    /// The generation is too far in the future to be a plausible start time.
    case generationTooFarAhead(Endpoint, offered: Int64, limit: Int64)
    case clusterNameMismatch(Endpoint, theirs: String, ours: String)
    case partitionerMismatch(Endpoint, theirs: String, ours: String)
    /// Two nodes use one host id. The known node stays; the newcomer is quarantined.
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
