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

    public init(
        id: UUID, endpoint: Endpoint, location: Location = .unknown, claims: [TokenClaim], state: NodeState = .normal
    ) {
        self.id = id
        self.endpoint = endpoint
        self.location = location
        self.claims = claims
        self.state = state
    }

    /// Creates a node whose tokens no other node ever owned: epoch 0.
    public init(
        id: UUID, endpoint: Endpoint, location: Location = .unknown, tokens: [Int64], state: NodeState = .normal
    ) {
        self.init(id: id, endpoint: endpoint, location: location, claims: tokens.map { TokenClaim($0) }, state: state)
    }
}
