import Messages

/// What a node is told when it starts: every key of `conf/auspex.yaml`, typed, with its default.
///
/// Made by `NodeConfiguration.load`; the keys' names, kinds and places are in `ConfigurationKey.all`.
public struct NodeConfiguration: Sendable, Equatable {
    // MARK: Identity

    public var clusterName = "Auspex"
    public var dataCenter = "datacenter1"
    public var rack = "rack1"
    /// Who says where this node stands: SimpleSnitch (`dataCenter` and `rack`), GossipingPropertyFileSnitch or PropertyFileSnitch (their files).
    public var endpointSnitch = "SimpleSnitch"
    /// Whether replicas that answer slowly are asked after those that answer fast.
    public var dynamicSnitch = true
    public var dynamicSnitchUpdateInterval = Duration.milliseconds(100)
    /// After which a replica that was not asked counts as unknown again; 0: never.
    public var dynamicSnitchResetInterval = Duration.seconds(600)
    /// How much slower a nearer replica may be: 1.0 is twice as slow.
    public var dynamicSnitchBadnessThreshold = 1.0
    /// Tokens of this node, where the cluster's strategy chooses them at random.
    public var numTokens = 16
    /// How the cluster that this node founds divides the ring: equal_partitions, random or random_over_partitions.
    public var tokenStrategy = "equal_partitions"
    /// Q of the strategies with partitions.
    public var ringPartitions = 256
    /// Nodes through which this one finds the cluster, `IP:PORT` with commas; a node whose only seed is itself founds it.
    public var seeds = ""
    /// The host id of a dead member whose place this node takes; empty: none's.
    public var replaceNode = ""

    // MARK: Addresses

    public var listenAddress = "127.0.0.1"
    /// Ports; 0 takes a free one.
    public var nativeTransportPort = 9042
    public var linePort = 9043
    public var storagePort = 7000
    public var httpAddress = "127.0.0.1"
    public var httpPort = 9180
    /// Of clients that speak TLS, while the other ports stay plain; 0: none.
    public var nativeTransportPortSSL = 0

    // MARK: Between nodes

    /// What is compressed between nodes: none, dc (what goes to other data centers), all.
    public var internodeCompression = "dc"
    /// Bytes of requests to one node that wait for an answer, a connection.
    public var internodeMaxRequestDataInFlight = 64 << 20
    public var phiConvictThreshold = 8.0
    public var hintedHandoffEnabled = true
    public var maxHintWindow = Duration.seconds(3 * 3600)
    /// Bytes a second, of this node to all that come back.
    public var hintedHandoffThrottle = 1 << 20
    public var maxHintsSizePerHost = 1 << 30
    public var hintsFlushPeriod = Duration.seconds(10)
    /// Whether files all of whose rows move are moved as they stand.
    public var streamEntireSSTables = true
    /// Bytes a second of what a node that joins or leaves moves; 0: unlimited.
    public var streamThroughputOutbound = 24 << 20

    // MARK: Encryption

    public var serverEncryption = ServerEncryptionOptions()
    public var clientEncryption = ClientEncryptionOptions()

    // MARK: Machine

    public var dataDirectory = "./data"
    /// Event loops; 0: one per core.
    public var loops = 0
    /// Threads for requests that wait for a disk; 0: four per core.
    public var ioThreads = 0
    /// Bytes that memtables may hold before the largest is flushed.
    public var memtableSpace = 256 << 20
    /// Bytes of uncompressed blocks kept in memory.
    public var cacheSpace = 256 << 20

    // MARK: Commit log

    public var commitlogSync = CommitlogSync.periodic
    public var commitlogSyncPeriod = Duration.seconds(10)
    public var commitlogSyncGroupWindow = Duration.milliseconds(1)
    public var commitlogSegmentSize = 32 << 20
    public var commitlogTotalSpace = 8 << 30
    public var commitlogReplay = CommitlogReplay.strict

    // MARK: Compaction

    /// Bytes a second; 0: unlimited.
    public var compactionThroughput = 64 << 20
    public var concurrentCompactors = 1

    // MARK: Timeouts

    public var readRequestTimeout = Duration.seconds(5)
    public var rangeRequestTimeout = Duration.seconds(10)
    public var writeRequestTimeout = Duration.seconds(2)
    public var counterWriteRequestTimeout = Duration.seconds(5)
    public var casContentionTimeout = Duration.milliseconds(1800)
    public var truncateRequestTimeout = Duration.seconds(60)
    public var requestTimeout = Duration.seconds(10)
    public var slowQueryLogTimeout = Duration.milliseconds(500)

    // MARK: Guard rails

    public var tombstoneWarnThreshold = 1000
    public var tombstoneFailureThreshold = 100_000
    public var batchSizeWarnThreshold = 5 << 10
    public var batchSizeFailThreshold = 50 << 10
    public var unloggedBatchAcrossPartitionsWarnThreshold = 10
    public var maxMutationSize = 16 << 20
    public var maxValueSize = 256 << 20

    // MARK: Clients

    public var nativeTransportMaxFrameSize = 16 << 20
    public var nativeTransportMaxConcurrentConnections = 20_000
    public var nativeTransportMaxRequestDataInFlight = 256 << 20
    public var nativeTransportMaxRequestDataInFlightPerConnection = 32 << 20
    public var preparedStatementsCacheSize = 10 << 20
    public var lineMaxLength = 1 << 20

    public init() {}

    /// `IP:PORT,...`; nil when one of them is none.
    static func endpoints(_ text: String) -> [Endpoint]? {
        var found: [Endpoint] = []
        for part in text.split(separator: ",") {
            guard let endpoint = Endpoint(part) else { return nil }
            found.append(endpoint)
        }
        return found
    }

    /// The seeds.
    var seedEndpoints: [Endpoint] { NodeConfiguration.endpoints(seeds) ?? [] }
}

/// When a commit-log write is made to survive the loss of power. Killing the process loses nothing in any mode.
public enum CommitlogSync: String, Sendable, CaseIterable {
    /// Acknowledged when the kernel has it; synced every `commitlog_sync_period`.
    case periodic
    /// Acknowledged when synced, writes of `commitlog_sync_group_window` together.
    case group
    /// Acknowledged when synced, as soon as the disk can.
    case batch
}

/// What a start does about a damaged commit-log record that is not the torn end of the last segment.
public enum CommitlogReplay: String, Sendable, CaseIterable {
    /// Refuses to start and names file and offset.
    case strict
    /// Leaves the damaged record and what follows it in that segment out, and says so.
    case skip
}
