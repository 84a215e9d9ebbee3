/// A summary of an endpoint's state as the sender knows it: its generation and the greatest version seen in it.
public struct GossipDigest: Hashable, Sendable {
    public let endpoint: Endpoint
    public let generation: Int64
    public let maxVersion: Int64

    public init(endpoint: Endpoint, generation: Int64, maxVersion: Int64) {
        self.endpoint = endpoint
        self.generation = generation
        self.maxVersion = maxVersion
    }
}
