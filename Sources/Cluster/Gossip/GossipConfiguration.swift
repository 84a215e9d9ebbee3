import Messages
import Primitives

/// The configuration of a gossiper. Times are in microseconds unless noted.
public struct GossipConfiguration: Hashable, Sendable {
    /// The cluster's name. Nodes with another cluster name are refused.
    public var clusterName: String
    public var partitioner: String
    /// This node's internode address.
    public var endpoint: Endpoint
    public var hostID: UUID
    /// Nodes to gossip with from time to time even when not known to be alive, so that a partitioned cluster
    /// reconnects.
    public var seeds: [Endpoint]
    /// How long a removed or refused node is ignored. Must exceed the time for which other nodes may still gossip its
    /// old state.
    public var quarantine: Int64 = 60_000_000
    /// How long a node that never owned a token may be silent before it is forgotten.
    public var silenceLimit: Int64 = 30_000_000
    /// How far a peer's generation may be ahead of this node's wall clock, in seconds: one year.
    public var generationLead: Int64 = 31_536_000
    /// The approximate number of state bytes in one message.
    public var deltaBytes = GossipLimits.deltaBytes
    public var failure = PhiAccrualDetector.Configuration()

    /// The time between two ticks.
    public static let interval: Int64 = 1_000_000
    /// How long to keep the state of a departed node so that every node learns of the departure: 3 days.
    public static let departedStateLife: Int64 = 259_200_000_000

    public init(
        clusterName: String, partitioner: String = "org.apache.cassandra.dht.Murmur3Partitioner", endpoint: Endpoint,
        hostID: UUID,
        seeds: [Endpoint]
    ) {
        self.clusterName = clusterName
        self.partitioner = partitioner
        self.endpoint = endpoint
        self.hostID = hostID
        self.seeds = Array(Set(seeds)).sorted()
    }
}
