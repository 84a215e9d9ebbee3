import Cluster
import Coordinator
import DataModel
import Logging
import Messages
import Platform
import Primitives
import Query
import Replica
import Storage

/// This node's part in its cluster: makes the parts and starts and stops them.
///
/// 1. Members and schema are one value of numbered versions (`MetadataStore`); a majority of the members chooses the
///    next one (`MetadataChanges`). A node that hears of a newer version fetches it (`MetadataFetcher`).
/// 2. Gossip tells which nodes are alive (`GossipDriver`, `Liveness`). Requests see members and liveness as an
///    immutable view, of which every loop has the newest (`ClusterViews`).
/// 3. A node alone has a view of itself, through which nothing is asked of others.
/// 4. Ranges move when members join or leave (`Joining`, `Leaving`, `RingChanges`, `RangeMoves`, `FileTransfers`).
///
/// Parts are made in the order in which they need each other. Two cycles are left, which `init` closes last, before
/// anything begins: nearly all parts need the drivers of the loops, which need some of them (`DriverParts`); and the
/// metadata's store, which most parts need, tells some of them when a version comes into force (`VersionEffects`).
///
/// **Thread safety**: all methods, from any thread. No lock of a part is held while `MetadataStore` is entered.
final class ClusterService: Sendable {
    let local: LocalNode
    let metadata: MetadataStore
    let liveness: Liveness
    let views: ClusterViews
    let ports: RequestPorts
    let policy: PeerPolicy
    let server: PeerServer
    let hints: HintHandoff
    let batches: BatchReplay
    let leaving: Leaving
    let repair: ReplicaRepair
    let queries: QueryEngine
    let activity = NodeActivity()
    let log: OperatorLog
    private let versions: VersionEffects
    private let joining: Joining
    private let gossip: GossipDriver
    private let drivers: [LoopDriver]
    private let driverParts: DriverParts
    private let network: any Network
    private let background: any Background
    private let stopSignal = StopSignal()

    /// - Parameters:
    ///   - hints: the store of hints, opened.
    ///   - makeQueries: makes the engine that executes statements; it is given what makes changes of the schema.
    init(
        configuration: NodeConfiguration, hostID: UUID, system: any FileSystem, time: any TimeSource,
        background: any Background, network: any Network, storage: StorageEngine, tables: TableStorage,
        metadata: MetadataStore, replica: LocalReplica, clock: HybridClock, acknowledgement: LogAcknowledgement,
        hints store: HintStore, events: EventHub, log logger: Logger, seed: UInt64,
        makeQueries: (any SchemaHost) -> QueryEngine
    ) {
        self.metadata = metadata
        self.network = network
        self.background = background
        let stop = stopSignal
        log = OperatorLog(logger, time: time)
        local = LocalNode(hostID: hostID, configuration: configuration)
        liveness = Liveness(metadata: metadata)
        policy = PeerPolicy(
            configuration: configuration, local: local, metadata: metadata, log: log, loops: network.loops)

        // Loops, and what other nodes are asked through.
        let service = ReplicaService(replica: replica)
        let limits = CoordinatorLimits(configuration)
        let platform = DriverPlatform(
            network: network, background: background, time: time, acknowledgement: acknowledgement,
            metadata: metadata, policy: policy, byteLimit: configuration.internodeMaxRequestDataInFlight)
        drivers = (0..<network.loops).map { loop in
            LoopDriver(
                loop: loop,
                coordinator: Coordinator(
                    local: hostID, clock: clock, limits: limits, seed: seed &+ UInt64(loop) &* 7919),
                platform: platform, service: service)
        }
        let first = drivers[0]
        let peers = PeerClient(drivers: drivers, network: network, background: background)
        views = ClusterViews(
            configuration: configuration, local: local, metadata: metadata, liveness: liveness, drivers: drivers,
            network: network, time: time)
        ports = RequestPorts(
            configuration: configuration, drivers: drivers, replica: replica, storage: storage, clock: clock)

        // Changes of the metadata, and what executes statements.
        let changes = MetadataChanges(
            local: local, metadata: metadata, views: views, driver: first, network: network, background: background,
            log: log)
        queries = makeQueries(
            SchemaChanges(
                configuration: configuration, changes: changes, local: local, metadata: metadata, liveness: liveness,
                peers: peers, time: time, background: background, stop: stop))
        let fetcher = MetadataFetcher(
            metadata: metadata, liveness: liveness, peers: peers, background: background, log: log, stop: stop)
        let ring = RingChanges(
            changes: changes, local: local, metadata: metadata, liveness: liveness, queries: queries, peers: peers,
            background: background, log: log, stop: stop, seed: seed)

        // What nodes have missed.
        hints = HintHandoff(
            configuration: configuration, store: store, local: local, metadata: metadata, liveness: liveness,
            storage: storage, peers: peers, driver: first, network: network, background: background, time: time,
            log: log)
        batches = BatchReplay(
            batchLog: service.batchLog, minimumAge: 2 * limits.writeTimeout, views: views, hints: hints,
            storage: storage, peers: peers, driver: first, network: network, background: background, time: time,
            log: log, stop: stop)

        // Gossip.
        let systemPeers = SystemPeers(local: local, liveness: liveness, queries: queries)
        let generations = GenerationFile(system: system, directory: configuration.dataDirectory, time: time)
        let gossipEvents = GossipEvents(
            liveness: liveness, metadata: metadata, queries: queries, systemPeers: systemPeers, views: views,
            clients: events, hints: hints, fetcher: fetcher, generations: generations, drivers: drivers,
            network: network, background: background, time: time, log: log)
        gossip = GossipDriver(
            configuration: configuration, local: local, liveness: liveness, metadata: metadata, queries: queries,
            storage: storage, events: gossipEvents, fetcher: fetcher, ring: ring, driver: first, network: network,
            time: time, log: log, stop: stop, seed: seed)
        versions = VersionEffects(
            local: local, queries: queries, storage: storage, systemPeers: systemPeers, views: views, events: events,
            hints: hints, gossip: gossip, log: log)
        server = PeerServer(
            configuration: configuration, local: local, metadata: metadata, policy: policy, gossip: gossip,
            fetcher: fetcher, drivers: drivers, log: log)

        // Data that moves.
        let throttle = StreamThrottle(
            bytesPerSecond: configuration.streamThroughputOutbound, time: time, background: background)
        let files = FileTransfers(
            configuration: configuration, local: local, metadata: metadata, storage: storage, peers: peers,
            throttle: throttle, network: network, background: background, time: time, log: log, stop: stop)
        let moves = RangeMoves(
            local: local, metadata: metadata, liveness: liveness, queries: queries, peers: peers, files: files,
            throttle: throttle, activity: activity, time: time, background: background, log: log, stop: stop)
        joining = Joining(
            configuration: configuration, local: local, metadata: metadata, queries: queries,
            systemPeers: systemPeers, views: views, gossip: gossip, generations: generations, policy: policy,
            peers: peers, ring: ring, moves: moves, background: background, log: log, stop: stop, seed: seed)
        leaving = Leaving(
            local: local, metadata: metadata, liveness: liveness, ring: ring, moves: moves, gossip: gossip,
            hints: hints, batches: batches, log: log)
        repair = ReplicaRepair(
            local: local, metadata: metadata, queries: queries, storage: storage, hints: store,
            files: RepairProgressFiles(system: system, dataDirectory: configuration.dataDirectory, log: log),
            activity: activity, driver: first, network: network, background: background, time: time)

        // The cycles.
        driverParts = DriverParts(
            hints: hints, views: views, fetcher: fetcher, files: files,
            answers: MetadataAnswers(
                metadata: metadata, ring: ring, network: network, background: background, log: log))
        for driver in drivers { driver.parts = driverParts }
        metadata.onChange(versions.effects(making: tables))
    }

    /// Takes the node's place in its cluster; returns when the node owns its share. On a background thread.
    func start() throws(NodeError) {
        try joining.run()
        hints.start()
        batches.start()
    }

    /// Tells the others that this node stops, and gives the messages time to leave. On a background thread.
    func sayGoodBye() {
        if gossip.announceShutdown() { background.sleep(nanoseconds: 100_000_000) }
    }

    /// Ends gossip and all connections between nodes.
    func stop() {
        stopSignal.set()
        for driver in drivers { network.onLoop(driver.loop) { driver.links.closeAll() } }
        server.closeConnections()
        hints.close()
    }
}

extension CoordinatorLimits {
    init(_ configuration: NodeConfiguration) {
        self.init()
        readTimeout = configuration.queryLimits.readTimeout.microseconds
        rangeTimeout = configuration.queryLimits.rangeTimeout.microseconds
        writeTimeout = configuration.writeRequestTimeout.microseconds
        counterTimeout = configuration.counterWriteRequestTimeout.microseconds
        casContentionTimeout = configuration.casContentionTimeout.microseconds
        hintedHandoff = configuration.hintedHandoffEnabled
        if configuration.dynamicSnitch {
            latencyInterval = max(1, configuration.dynamicSnitchUpdateInterval.microseconds)
        }
    }
}
