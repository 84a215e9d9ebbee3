import Messages

/// How a shadow round ended.
public enum ShadowOutcome: Hashable, Sendable {
    /// There is a cluster: join it.
    case met(ShadowAnswer)
    /// There is none, and this node is to make it.
    case founded
    case failed(ShadowFailure)
}

/// What a cluster told a node that has not joined.
public struct ShadowAnswer: Hashable, Sendable {
    /// By endpoint.
    public let states: [GossipEntry]
    /// In which generation this endpoint is remembered: the node needs a greater one.
    public let ownGeneration: Int64?
    /// Where a node with this node's host id is known, other than here and not gone. If it is alive, this node must not start; if it is dead,
    /// it was this one, at its former address.
    public let sameHostID: Endpoint?
}

/// Why a node cannot join.
public enum ShadowFailure: Hashable, Sendable, CustomStringConvertible {
    /// No seed that belongs to the cluster answered in time.
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
