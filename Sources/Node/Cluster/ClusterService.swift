import Cluster
import Coordinator
import DataModel
import Logging
import Messages
import NativeProtocol
import Platform
import Primitives
import Query
import Replica
import Storage
import Synchronization

/// This node's part in its cluster: who the members are, who lives, what they ask each other.
///
/// 1. Members and schema are one value of numbered versions (`MetadataStore`); a change is chosen by a majority of the members. A node that
///    hears of a newer version, by gossip or beside a request, fetches it.
/// 2. Gossip tells who lives. Requests see both as an immutable `ClusterView`, of which every loop has the newest.
/// 3. A node alone has a view of itself, through which nothing is asked of others.
///
/// **Thread safety**: all methods, from any thread, but for those that say otherwise. The gossiper's lock, the view's and the snitch's, which
/// comes after the view's, are held for computation only; `MetadataStore` may be entered holding none.
final class ClusterService: Sendable {
    let configuration: NodeConfiguration
    let hostID: UUID
    let system: any FileSystem
    let time: any TimeSource
    let background: any Background
    let network: any Network
    let storage: StorageEngine
    let metadata: MetadataStore
    let events: EventHub
    let log: Logger
    let seed: UInt64
    let clock: HybridClock
    let replica: LocalReplica
    let acknowledgement: LogAcknowledgement
    let hints: HintHandoff
    let batches: BatchReplay
    let drivers: [LoopDriver]
    private let engineBox = Mutex<QueryEngine?>(nil)

    /// Where this node is reached, once it listens.
    let endpointBox: Mutex<Endpoint>
    let nativePort = Atomic<Int>(0)
    let gossip = Mutex<Gossiper?>(nil)
    let shadow = Mutex<ShadowRound?>(nil)
    /// Why a node did not want this one.
    let seedRefusal = Mutex<String?>(nil)
    private let isOut = Atomic<Bool>(false)
    private let snitch: Mutex<DynamicSnitch>
    private let viewBox = Mutex<(view: ClusterView, schema: UUID)?>(nil)
    /// Changes of the metadata that wait for those before them; on loop 0.
    let changes = ChangeQueue()
    let isFetching = Atomic<Bool>(false)
    let isStopped = Atomic<Bool>(false)
    /// Other nodes' connections with their numbers, in the order they were accepted.
    private let connections = Mutex<[ObjectIdentifier: (number: Int, connection: any Connection)]>([:])
    private let connectionCount = Atomic<Int>(0)
    let told = Mutex<[String: Int64]>([:])
    /// Since when nodes are down, in seconds since 1970.
    let downSince = Mutex<[UUID: UInt32]>([:])
    let counters = ClusterCounters()
    /// Streams of files begun here.
    let streamCount = Atomic<UInt64>(0)
    /// What the node does for the ring now, for people.
    let activity = Mutex<String>("")

    init(
        configuration: NodeConfiguration, hostID: UUID, system: any FileSystem, time: any TimeSource, background: any Background,
        network: any Network, storage: StorageEngine, metadata: MetadataStore, replica: LocalReplica, clock: HybridClock,
        acknowledgement: LogAcknowledgement, hints: HintHandoff, events: EventHub, log: Logger, seed: UInt64
    ) {
        self.configuration = configuration
        self.hostID = hostID
        self.system = system
        self.time = time
        self.background = background
        self.network = network
        self.storage = storage
        self.metadata = metadata
        self.replica = replica
        self.clock = clock
        self.acknowledgement = acknowledgement
        self.hints = hints
        self.events = events
        self.log = log
        self.seed = seed
        endpointBox = Mutex(Endpoint(address: configuration.listenAddress, port: configuration.storagePort))
        let reset = configuration.dynamicSnitchResetInterval.microseconds
        snitch = Mutex(DynamicSnitch(forgetAfter: reset > 0 ? reset : .max))
        let platform = DriverPlatform(
            network: network, background: background, time: time, acknowledgement: acknowledgement,
            byteLimit: configuration.internodeMaxRequestDataInFlight)
        var limits = CoordinatorLimits()
        limits.readTimeout = configuration.readRequestTimeout.microseconds
        limits.rangeTimeout = configuration.rangeRequestTimeout.microseconds
        limits.writeTimeout = configuration.writeRequestTimeout.microseconds
        limits.counterTimeout = configuration.counterWriteRequestTimeout.microseconds
        limits.casContentionTimeout = configuration.casContentionTimeout.microseconds
        limits.hintedHandoff = configuration.hintedHandoffEnabled
        if configuration.dynamicSnitch { limits.latencyInterval = max(1, configuration.dynamicSnitchUpdateInterval.microseconds) }
        let service = ReplicaService(replica: replica)
        batches = BatchReplay(log: service.batchLog, minimumAge: 2 * limits.writeTimeout)
        drivers = (0..<network.loops).map { loop in
            LoopDriver(
                loop: loop,
                coordinator: Coordinator(local: hostID, clock: clock, limits: limits, seed: seed &+ UInt64(loop) &* 7919),
                platform: platform, service: service)
        }
        for driver in drivers { driver.cluster = self }
        hints.attach(self)
    }

    var endpoint: Endpoint { endpointBox.withLock { $0 } }

    /// The engine that executes statements; set once, before anything else is asked.
    var queries: QueryEngine? {
        get { engineBox.withLock { $0 } }
        set { engineBox.withLock { $0 = newValue } }
    }

    /// Monotonic microseconds.
    var now: Int64 { Int64(time.monotonicNanoseconds() / 1000) }

    // MARK: The view

    /// The newest view; nil before the node belongs to a cluster.
    var view: ClusterView? { viewBox.withLock { $0?.view } }

    /// Makes a view of what is known now and gives it to every loop.
    func refreshView() {
        guard let metadata = metadata.current, metadata.member(hostID) != nil, let schema = queries?.schema else { return }
        let alive = gossip.withLock { gossiper in
            metadata.members.map { member in
                member.node.id == hostID || gossiper?.isAlive(member) ?? false
            }
        }
        viewBox.withLock { current in
            let known: ClusterView
            if let (view, version) = current, view.epoch == metadata.epoch, version == schema.version {
                known = view
            } else {
                let ring = metadata.ring
                known = ClusterView(
                    ring: ring, local: hostID, isAlive: alive, distance: ring.index(of: hostID).map { ring.distances(from: $0) } ?? [],
                    keyspaces: schema.keyspaces.mapValues(\.replication),
                    tables: schema.tables.mapValues { table in
                        TableRules(
                            keyspace: table.keyspace, speculativeRetry: SpeculativeRetry(option: table.options.speculativeRetry),
                            repairsReads: table.options.readRepair != "NONE",
                            isSloppy: schema.keyspaces[table.keyspace]?.sloppyQuorum ?? false)
                    },
                    epoch: metadata.epoch, former: metadata.formerRing)
            }
            let next = known.with(
                isAlive: alive, scores: snitch.withLock { $0.scores(of: known.ring, now: now) },
                badnessThreshold: configuration.dynamicSnitchBadnessThreshold)
            current = (next, schema.version)
            give(next)
        }
    }

    /// Gives every loop a view; under the lock, so that each gets them in their order.
    private func give(_ view: ClusterView) { for driver in drivers { network.onLoop(driver.loop) { driver.view = view } } }

    /// Takes over how fast nodes answered the reads of a loop: once an interval of each loop, while it reads.
    func answered(_ latencies: [ReadLatency]) {
        viewBox.withLock { current in
            guard let (view, version) = current else { return }
            let now = now
            let scores = snitch.withLock { snitch in
                for one in latencies { snitch.record(one.node, latency: one.mean, count: one.count, now: now) }
                return snitch.scores(of: view.ring, now: now)
            }
            if view.order.isClose(to: scores) { return }
            let next = view.with(
                isAlive: view.isAlive, scores: scores, badnessThreshold: configuration.dynamicSnitchBadnessThreshold)
            current = (next, version)
            give(next)
        }
    }

    /// A node that comes back, or is gone, is not what it was.
    func forgetSpeed(of node: UUID) { snitch.withLock { $0.forget(node) } }

    /// Before anything listens: the loops do not run yet.
    func placeFirstView() {
        refreshView()
        if let view { for driver in drivers { driver.view = view } }
    }

    /// What a request reads and writes through; nil when this node is alone. On the loop.
    @inline(__always) func port(_ options: Query.QueryOptions, loop: Int) -> (any ReplicaPort)? {
        guard let view = drivers[loop].view, !view.isSingle else { return nil }
        return coordinatedRequest(options, drivers[loop], view)
    }

    private func coordinatedRequest(_ options: Query.QueryOptions, _ driver: LoopDriver, _ view: ClusterView) -> CoordinatedRequest {
        let storage = storage
        return CoordinatedRequest(
            cluster: view, local: replica, runner: driver, consistency: options.consistency, serial: options.serialConsistency,
            pageRows: options.pageSize, contentionTimeout: configuration.casContentionTimeout.microseconds,
            gcGrace: { table in storage.table(table)?.options.gcGraceSeconds ?? 864_000 },
            nowSeconds: UInt32(clamping: clock.nowMicroseconds / 1_000_000))
    }

    // MARK: Versions

    /// A version came into force: what clients and requests see follows it. Called in the order of versions.
    func took(_ before: ClusterMetadata?, _ next: ClusterMetadata, _ schema: Schema, _ difference: SchemaDifference) {
        guard let queries else { return }
        isOut.store(next.member(hostID).map { $0.node.state == .left } ?? true, ordering: .releasing)
        describe(next, schema: schema)
        if !difference.isEmpty { queries.install(schema, difference) }
        for table in difference.altered { storage.table(table.id)?.options = TableStoreOptions(table.options) }
        refreshView()
        for table in difference.dropped {
            do { try storage.dropTable(table.id) } catch {
                storage.report("files of the dropped table \(table.qualifiedName) remain: \(error)")
            }
        }
        for change in difference.changes { events.announce(.schema(change)) }
        announceMembers(before, next)
        announceState(schema)
    }

    /// What the system tables say of the members.
    func describe(_ metadata: ClusterMetadata, schema: Schema) {
        let versions = gossip.withLock { gossiper in
            metadata.members.map { gossiper?.state(of: $0.node.endpoint)?[.schema].flatMap { UUID($0.text) } }
        }
        let ring = metadata.ring
        let own = metadata.member(hostID)
        let generation = gossip.withLock { $0?.local.heartBeat.generation ?? 1 }
        let (hostID, nativePort) = (hostID, nativePort.load(ordering: .relaxed))
        queries?.update { info in
            info.tokens = ring.claims(heldBy: hostID).map(\.token)
            info.dataCenters = ring.dataCenters.isEmpty ? [info.dataCenter] : ring.dataCenters
            if let own { info.storagePort = own.node.endpoint.port }
            if nativePort > 0 { info.nativePort = nativePort }
            info.generation = generation
            info.peers = zip(metadata.members, versions).compactMap { member, version in
                guard member.node.id != hostID, member.node.state.owns else { return nil }
                return PeerInfo(
                    hostID: member.node.id, address: member.node.endpoint.address, nativePort: member.nativePort,
                    storagePort: member.node.endpoint.port, dataCenter: member.node.location.dataCenter, rack: member.node.location.rack,
                    tokens: ring.claims(heldBy: member.node.id).map(\.token), schemaVersion: version ?? schema.version)
            }
        }
    }

    private func announceMembers(_ before: ClusterMetadata?, _ next: ClusterMetadata) {
        guard let before else { return }
        for member in next.members where member.node.id != hostID && member.node.state.owns {
            let old = before.member(member.node.id)
            guard let client = ClusterService.client(member) else { continue }
            if old?.node.state.owns != true {
                events.announce(.topology(.newNode, client))
                events.announce(.status(.up, client))
            } else if old?.node.endpoint != member.node.endpoint {
                events.announce(.topology(.movedNode, client))
            }
        }
        for member in before.members where next.member(member.node.id) == nil {
            if let client = ClusterService.client(member), member.node.state != .joining {
                events.announce(.topology(.removedNode, client))
            }
            // Those who have become owners in its place get them.
            hints.isUp(member.node.id)
            forgetSpeed(of: member.node.id)
        }
    }

    /// Where clients reach a member.
    static func client(_ member: ClusterMetadata.Member) -> ServerEvent.Endpoint? {
        InternetAddress.parse(member.node.endpoint.address).map {
            ServerEvent.Endpoint(address: $0, port: Int32(truncatingIfNeeded: member.nativePort))
        }
    }

    // MARK: Asking

    /// Asks a node and waits for its answer; on a background thread.
    /// - Parameter timeout: microseconds.
    func ask(_ request: PeerRequest, at endpoint: Endpoint, wanted: UUID?, timeout: Int64) -> PeerReply {
        askAll(request, at: [(endpoint, wanted)], timeout: timeout)[0]
    }

    /// Asks nodes the same at once and waits for all their answers; on a background thread.
    /// - Parameter timeout: microseconds.
    func askAll(_ request: PeerRequest, at nodes: [(endpoint: Endpoint, wanted: UUID?)], timeout: Int64) -> [PeerReply] {
        if nodes.isEmpty { return [] }
        let box = Mutex<(replies: [PeerReply], left: Int)>(
            ([PeerReply](repeating: .failed(.connectionLost, "no answer"), count: nodes.count), nodes.count))
        background.wait { resume in
            let driver = drivers[0]
            network.onLoop(0) {
                for (index, node) in nodes.enumerated() {
                    driver.ask(request, at: node.endpoint, wanted: node.wanted, timeout: timeout) { reply in
                        let left = box.withLock { box in
                            box.replies[index] = reply
                            box.left -= 1
                            return box.left
                        }
                        if left == 0 { resume() }
                    }
                }
            }
        }
        return box.withLock { $0.replies }
    }

    /// Whether requests to replicas have no reply yet; on a background thread.
    func hasRequestsUnderWay() -> Bool {
        drivers.contains { driver in
            let count = Mutex(0)
            background.wait { resume in
                network.onLoop(driver.loop) {
                    count.withLock { $0 = driver.coordinator.outstandingCount }
                    resume()
                }
            }
            return count.withLock { $0 } > 0
        }
    }

    /// Says something for the operator, the same at most once a minute.
    func tell(_ text: String, level: Logger.Level = .warning) {
        let isNew = told.withLock { told in
            if let last = told[text], now - last < 60_000_000 { return false }
            if told.count > 1000 { told = [:] }
            told[text] = now
            return true
        }
        if isNew { log.log(level: level, "\(text)") }
    }

    func opened(_ connection: any Connection) {
        let number = connectionCount.add(1, ordering: .relaxed).newValue
        connections.withLock { $0[ObjectIdentifier(connection)] = (number, connection) }
    }

    /// Whether the node has left the cluster, or was removed: it serves nobody then.
    var hasLeft: Bool { isOut.load(ordering: .relaxed) }

    /// Whether a member counts as alive.
    func isAlive(_ id: UUID) -> Bool {
        guard let member = metadata.current?.member(id) else { return false }
        return gossip.withLock { $0?.isAlive(member) ?? false }
    }

    /// What a node says of itself.
    func said(_ key: GossipKey, by endpoint: Endpoint) -> String? { gossip.withLock { $0?.state(of: endpoint)?[key]?.text } }

    /// Bytes of the tables on this node's disk.
    var load: Int { storage.allTables.reduce(0) { $0 + $1.tables.reduce(0) { $0 + $1.fileBytes } } }

    /// Tells the others that this node stops, and lets the news leave.
    func sayGoodBye() {
        let effects = gossip.withLock { $0?.shutdown() ?? [] }
        if effects.isEmpty { return }
        perform(effects)
        background.sleep(nanoseconds: 100_000_000)
    }

    /// Ends gossip and all connections between nodes.
    func stop() {
        isStopped.store(true, ordering: .relaxed)
        for driver in drivers { network.onLoop(driver.loop) { driver.links.closeAll() } }
        // In the order they came: the order of a table of addresses would differ from run to run.
        let connections = connections.withLock { $0.values.sorted { $0.number < $1.number } }
        for (_, connection) in connections { connection.onLoop { connection.closeAfterOutput() } }
        hints.close()
    }

    var hasStopped: Bool { isStopped.load(ordering: .relaxed) }
}

/// Counters of what passes between nodes, for metrics.
final class ClusterCounters: Sendable {
    let requestsSent = Atomic<Int>(0)
    let requestsCarriedOut = Atomic<Int>(0)
    let staleRequests = Atomic<Int>(0)
    /// Steps that were begun again by newer members.
    let begunAnew = Atomic<Int>(0)
    let bytesSent = Atomic<Int>(0)
    let connectionsRefused = Atomic<Int>(0)
}

extension Gossiper {
    /// Whether a member counts as alive: its address may be that of the node which takes its place.
    func isAlive(_ member: ClusterMetadata.Member) -> Bool {
        isAlive(member.node.endpoint) && state(of: member.node.endpoint)?.hostID ?? member.node.id == member.node.id
    }
}

extension Duration {
    /// Whole microseconds, at least 0.
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return max(0, seconds) * 1_000_000 + max(0, attoseconds) / 1_000_000_000_000
    }
}

// MARK: - Between the nodes

extension ClusterService: DriverCluster {
    var epoch: UInt64 { metadata.epoch }
    var ringEpoch: UInt64 { metadata.ringEpoch }

    var hello: PeerHello { PeerHello(clusterName: configuration.clusterName, hostID: hostID, endpoint: endpoint, wanted: nil) }

    func wasRefused(by endpoint: Endpoint, _ why: PeerError) {
        // Certificates can be put right while this node goes on trying.
        if case .encryption(let reason) = why { return tell("no TLS connection to \(endpoint): \(reason)", level: .error) }
        let text = "\(endpoint) refused this node: \(why)"
        seedRefusal.withLock { if $0 == nil { $0 = text } }
        tell(text, level: .error)
    }

    func encryption(_ other: Endpoint) -> Encryption {
        configuration.serverEncryption.encrypts(
            to: { metadata.current?.members.first { $0.node.endpoint == other }?.node.location },
            from: Location(dataCenter: configuration.dataCenter, rack: configuration.rack)) ? .required(.nodes) : .none
    }

    func endpoint(of node: UUID) -> Endpoint? { metadata.current?.member(node)?.node.endpoint }

    func keepHint(for node: UUID, _ mutations: [UInt8], writtenAt: UInt32?) -> Bool {
        hints.keep(for: node, mutations, writtenAt: writtenAt, downSince: downSince.withLock { $0[node] })
    }

    func syncHints() -> String? { hints.write() }

    func keep(_ mutations: [UInt8], for node: UUID, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void) {
        guard metadata.current?.member(node) != nil else { return done(.failed(.unknown, "\(node) is no member that is known here")) }
        guard keepHint(for: node, mutations, writtenAt: nil) else {
            return done(
                .failed(.overloaded, "hints for \(node) are limited or off here, or it has been down for longer than max_hint_window"))
        }
        hints.whenWritten { [network] failure in
            network.onLoop(loop) { done(failure.map { .failed(.storage, $0) } ?? .done) }
        }
    }

    func isBehind() { fetchSoon(from: nil) }

    func answer(_ question: MetadataRequest, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void) {
        let kind: BackgroundKind = if case .change = question { .control } else { .read }
        background.run(kind) { [self] in
            let reply = answer(question)
            network.onLoop(loop) { done(reply) }
        }
    }

    /// Waits for the disk, and for other members when a change is asked for.
    private func answer(_ question: MetadataRequest) -> PeerReply {
        if case .change(let bytes) = question { return makeChange(bytes) }
        do { return .metadata(try metadata.handle(question)) } catch {
            tell("the cluster's metadata cannot be kept: \(error)", level: .error)
            return .failed(.storage, "\(error)")
        }
    }
}

extension ClusterService: PeerHost {
    func welcome(_ hello: PeerHello) throws(PeerError) {
        guard hello.clusterName == configuration.clusterName else {
            throw .refused(
                "this node belongs to cluster '\(configuration.clusterName)', the other to '\(hello.clusterName)'; check cluster_name and seeds of both"
            )
        }
        if let wanted = hello.wanted, wanted != hostID { throw .refused("this is node \(hostID), not \(wanted)") }
        guard hello.hostID != hostID || hello.endpoint == endpoint else {
            throw .refused(
                "\(hello.endpoint) has the host id \(hostID) of this node at \(endpoint). Was a data directory copied? Give the newcomer an empty one"
            )
        }
    }

    func compresses(_ other: Endpoint) -> Bool {
        switch configuration.internodeCompression {
        case "all": return true
        case "dc":
            guard let member = metadata.current?.members.first(where: { $0.node.endpoint == other }) else { return false }
            return member.node.location.dataCenter != configuration.dataCenter
        default: return false
        }
    }

    func execute(
        _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, timeout: Int64, loop: Int,
        _ done: @escaping @Sendable (PeerReply) -> Void
    ) {
        counters.requestsCarriedOut.add(1, ordering: .relaxed)
        if epoch > metadata.epoch { fetchSoon(from: peer.endpoint) }
        switch request {
        case .gossip(let bytes):
            received(bytes, from: peer.endpoint)
            return done(.done)
        case .metadata: break
        default:
            // Who goes by other members would ask, and count, the wrong ones; as in `LoopDriver.perform` for this node's own.
            if epoch < metadata.ringEpoch {
                counters.staleRequests.add(1, ordering: .relaxed)
                return done(.failed(.ringChanged, "the members have changed; the coordinator knows version \(epoch) of them"))
            }
        }
        drivers[loop].execute(request, done)
    }

    func peerRefused(_ peer: String, _ why: String) {
        counters.connectionsRefused.add(1, ordering: .relaxed)
        tell("refused \(peer): \(why)")
    }

    func peerConnectionClosed(_ connection: any Connection) {
        _ = connections.withLock { $0.removeValue(forKey: ObjectIdentifier(connection)) }
    }
}
