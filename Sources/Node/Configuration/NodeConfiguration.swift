import Messages
import Query

/// The configuration of a node: every key of `conf/auspex.yaml`, typed, with its default.
///
/// Created by `NodeConfiguration.load`. `ConfigurationKey.all` lists the keys with their names, types and fields.
public struct NodeConfiguration: Sendable, Equatable {
    /// What was found wrong and ignored, for the operator.
    public internal(set) var warnings: [String] = []
    // MARK: Identity

    public var clusterName = "Auspex"
    public var dataCenter = "datacenter1"
    public var rack = "rack1"
    /// The source of this node's location: SimpleSnitch (`dataCenter` and `rack`), GossipingPropertyFileSnitch or
    /// PropertyFileSnitch (their files).
    public var endpointSnitch = "SimpleSnitch"
    /// Whether slow replicas are asked after fast ones.
    public var dynamicSnitch = true
    public var dynamicSnitchUpdateInterval = Duration.milliseconds(100)
    /// The time after which the latency of a replica that was not asked is forgotten; 0: never.
    public var dynamicSnitchResetInterval = Duration.seconds(600)
    /// How much slower a nearer replica may be before a farther one is preferred: 1.0 means twice as slow.
    public var dynamicSnitchBadnessThreshold = 1.0
    /// The number of this node's tokens, if the token strategy is random.
    public var numTokens = 16
    /// How a new cluster divides the ring: equal_partitions, random or random_over_partitions. Used by the node that
    /// founds it.
    public var tokenStrategy = "equal_partitions"
    /// The number of partitions (Q) of the strategies with partitions.
    public var ringPartitions = 256
    /// The nodes through which this node finds the cluster, as comma-separated `IP:PORT`. A node whose only seed is
    /// itself founds the cluster.
    public var seeds = ""
    /// The host id of a dead member that this node replaces; empty: none.
    public var replaceNode = ""

    // MARK: Addresses

    public var listenAddress = "127.0.0.1"
    /// Ports; 0: any free port.
    public var nativeTransportPort = 9042
    public var linePort = 9043
    public var storagePort = 7000
    public var httpAddress = "127.0.0.1"
    public var httpPort = 9180
    /// A port for TLS clients only, with the other ports plain; 0: none.
    public var nativeTransportPortSSL = 0

    // MARK: Between nodes

    /// Which internode traffic is compressed: none, dc (to other data centers), all.
    public var internodeCompression = "dc"
    /// The maximum bytes of unanswered requests, per connection to another node.
    public var internodeMaxRequestDataInFlight = 64 << 20
    public var phiConvictThreshold = 8.0
    public var hintedHandoffEnabled = true
    public var maxHintWindow = Duration.seconds(3 * 3600)
    /// Bytes per second, for this node's hints to all nodes together.
    public var hintedHandoffThrottle = 1 << 20
    public var maxHintsSizePerHost = 1 << 30
    public var hintsFlushPeriod = Duration.seconds(10)
    /// Whether sstables are streamed whole when all their rows move.
    public var streamEntireSSTables = true
    /// Bytes per second of data streamed for a joining or leaving node; 0: unlimited.
    public var streamThroughputOutbound = 24 << 20

    // MARK: Encryption

    public var serverEncryption = ServerEncryptionOptions()
    public var clientEncryption = ClientEncryptionOptions()

    // MARK: Machine

    public var dataDirectory = "./data"
    /// Event loops; 0: one per core.
    public var loops = 0
    /// Background threads for reads that wait for a disk; 0: four per core.
    public var ioThreads = 0
    /// The bytes that memtables may use before the largest is flushed.
    public var memtableSpace = 256 << 20
    /// The bytes of uncompressed blocks in the cache.
    public var cacheSpace = 256 << 20

    // MARK: Commit log

    public var commitlogSync = CommitlogSync.periodic
    public var commitlogSyncPeriod = Duration.seconds(10)
    public var commitlogSyncGroupWindow = Duration.milliseconds(1)
    public var commitlogSegmentSize = 32 << 20
    public var commitlogTotalSpace = 8 << 30
    public var commitlogReplay = CommitlogReplay.strict

    // MARK: Compaction

    /// Bytes per second; 0: unlimited.
    public var compactionThroughput = 64 << 20
    public var concurrentCompactors = 1

    // MARK: Timeouts

    public var writeRequestTimeout = Duration.seconds(2)
    public var counterWriteRequestTimeout = Duration.seconds(5)
    public var casContentionTimeout = Duration.milliseconds(1800)
    public var truncateRequestTimeout = Duration.seconds(60)

    // MARK: Statements

    /// Guard rails, the size of the cache of prepared statements, and the timeouts of reads and local work.
    public var queryLimits = QueryLimits()

    // MARK: Clients

    public var nativeTransportMaxFrameSize = 16 << 20
    public var nativeTransportMaxConcurrentConnections = 20_000
    public var nativeTransportMaxRequestDataInFlight = 256 << 20
    public var nativeTransportMaxRequestDataInFlightPerConnection = 32 << 20
    public var lineMaxLength = 1 << 20

    public init() {}

    /// Parses `IP:PORT,...`; nil if any part is invalid.
    static func endpoints(_ text: String) -> [Endpoint]? {
        var found: [Endpoint] = []
        for part in text.split(separator: ",") {
            guard let endpoint = Endpoint(part) else { return nil }
            found.append(endpoint)
        }
        return found
    }

    /// The parsed seeds.
    var seedEndpoints: [Endpoint] { NodeConfiguration.endpoints(seeds) ?? [] }
}

/// When commit log writes are made durable against power loss. Killing the process loses nothing in any mode.
public enum CommitlogSync: String, Sendable, CaseIterable {
    /// Acknowledged once the kernel has the write; synced every `commitlog_sync_period`.
    case periodic
    /// Acknowledged after a sync; writes within `commitlog_sync_group_window` share one.
    case group
    /// Acknowledged after a sync, which starts as soon as possible.
    case batch
}

/// The reaction of a start to a damaged commit log record that is not the torn end of the last segment.
public enum CommitlogReplay: String, Sendable, CaseIterable {
    /// Refuses to start; the error names the file and the offset.
    case strict
    /// Skips the damaged record and the rest of its segment, and reports it.
    case skip
}
