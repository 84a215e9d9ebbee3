import Messages
import Primitives

/// A member of the ring: identity, address, location, claimed tokens and state.
public struct RingNode: Hashable, Sendable {
    /// The host id, which is the node's identity.
    public let id: UUID
    public var endpoint: Endpoint
    public var location: Location
    public var claims: [TokenClaim]
    public var state: NodeState

    public init(id: UUID, endpoint: Endpoint, location: Location = .unknown, claims: [TokenClaim], state: NodeState = .normal) {
        self.id = id
        self.endpoint = endpoint
        self.location = location
        self.claims = claims
        self.state = state
    }

    /// Creates a node whose tokens no other node ever owned: epoch 0.
    public init(id: UUID, endpoint: Endpoint, location: Location = .unknown, tokens: [Int64], state: NodeState = .normal) {
        self.init(id: id, endpoint: endpoint, location: location, claims: tokens.map { TokenClaim($0) }, state: state)
    }

    /// Creates a node from its gossip state; nil when host id or status are missing, or when a value does not parse.
    public init?(endpoint: Endpoint, gossip: GossipState) {
        guard let id = gossip.hostID, let status = gossip.status else { return nil }
        guard let claims = TokenClaim.decode(gossip[.tokens]?.bytes ?? []) else { return nil }
        let location = Location(
            dataCenter: gossip[.dataCenter]?.text ?? Location.unknown.dataCenter, rack: gossip[.rack]?.text ?? Location.unknown.rack)
        let state: NodeState
        switch status {
        case .joining: state = .joining
        case .normal, .shutdown: state = .normal
        case .leaving:
            guard let heirs = TokenHeir.decode(gossip[.heirs]?.bytes ?? []) else { return nil }
            state = .leaving(heirs: heirs)
        case .moving:
            guard let target = TokenClaim.decode(gossip[.futureTokens]?.bytes ?? []) else { return nil }
            state = .moving(to: target)
        case .replacing(let other): state = .replacing(other)
        case .left, .removed: state = .left
        }
        self.init(id: id, endpoint: endpoint, location: location, claims: claims, state: state)
    }
}
