import Messages
import Primitives

/// What a gossiper is told at its start. Times are microseconds.
public struct GossipConfiguration: Hashable, Sendable {
    /// Nodes of clusters with other names are not spoken to.
    public var clusterName: String
    public var partitioner: String
    /// Where this node is reached.
    public var endpoint: Endpoint
    public var hostID: UUID
    /// Nodes that are always gossiped with now and then, so that a cluster that fell apart finds together.
    public var seeds: [Endpoint]
    /// For how long a node that was removed, or refused, is not listened to: longer than the news of it lives elsewhere.
    public var quarantine: Int64 = 60_000_000
    /// After how long a silence a node that never owned a token is forgotten.
    public var silenceLimit: Int64 = 30_000_000
    /// How far a peer's generation may be ahead of this node's wall clock, in seconds: a year.
    public var generationLead: Int64 = 31_536_000
    /// Bytes of states in one message, about.
    public var deltaBytes = GossipLimits.deltaBytes
    public var failure = PhiAccrualDetector.Configuration()

    /// Between two ticks.
    public static let interval: Int64 = 1_000_000
    /// How long the state of a node that left is kept, so that everybody hears of it: 3 days.
    public static let departedStateLife: Int64 = 259_200_000_000

    public init(
        clusterName: String, partitioner: String = "org.apache.cassandra.dht.Murmur3Partitioner", endpoint: Endpoint, hostID: UUID,
        seeds: [Endpoint]
    ) {
        self.clusterName = clusterName
        self.partitioner = partitioner
        self.endpoint = endpoint
        self.hostID = hostID
        self.seeds = Array(Set(seeds)).sorted()
    }
}
