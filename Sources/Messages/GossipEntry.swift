/// The state of an endpoint, or the part of it that is new to the receiver.
public struct GossipEntry: Hashable, Sendable {
    public let endpoint: Endpoint
    public let state: GossipState

    public init(endpoint: Endpoint, state: GossipState) {
        self.endpoint = endpoint
        self.state = state
    }
}
