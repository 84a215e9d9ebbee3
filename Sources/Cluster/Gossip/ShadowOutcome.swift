import Messages

/// The result of a shadow round.
public enum ShadowOutcome: Hashable, Sendable {
    /// A cluster exists: join it.
    case met(ShadowAnswer)
    /// No cluster exists, and this node is the one to create it.
    case founded
    case failed(ShadowFailure)
}

/// The state of a cluster as told to a node that has not joined it.
public struct ShadowAnswer: Hashable, Sendable {
    /// Sorted by endpoint.
    public let states: [GossipEntry]
    /// The generation in which the cluster remembers this endpoint; the node needs a greater one. nil when it does not.
    public let ownGeneration: Int64?
    /// Another endpoint that the cluster knows with this node's host id and that has not departed. If that node is
    /// alive, this node must not start; if it is dead, it was this node at its previous address.
    public let sameHostID: Endpoint?
}

/// Why a node cannot join.
public enum ShadowFailure: Hashable, Sendable, CustomStringConvertible {
    /// No seed of the cluster answered in time.
    case noAnswer(seeds: [Endpoint])
    case refused(GossipRefusal)

    public var description: String {
        switch self {
        case .noAnswer(let seeds):
            "none of the seeds \(seeds.map(\.description).joined(separator: ", ")) answered; start one of them first, or check the addresses"
        case .refused(let refusal): refusal.description
        }
    }
}
