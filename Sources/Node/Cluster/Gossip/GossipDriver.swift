import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Query
import Storage
import Synchronization

/// Runs the gossiper: rounds, messages in and out, and what this node says of itself.
///
/// **Thread safety**: all methods, from any thread.
final class GossipDriver: Sendable {
    private let configuration: NodeConfiguration
    private let local: LocalNode
    private let liveness: Liveness
    private let metadata: MetadataStore
    private let queries: QueryEngine
    private let storage: StorageEngine
    private let events: GossipEvents
    private let fetcher: MetadataFetcher
    private let ring: RingChanges
    private let driver: LoopDriver
    private let network: any Network
    private let time: any TimeSource
    private let log: OperatorLog
    private let stop: StopSignal
    private let seed: UInt64
    /// Asks the seeds before this node gossips; nil when it does not.
    private let shadow = Mutex<ShadowRound?>(nil)

    /// - Parameter driver: that of loop 0, which sends all messages.
    init(
        configuration: NodeConfiguration, local: LocalNode, liveness: Liveness, metadata: MetadataStore,
        queries: QueryEngine, storage: StorageEngine, events: GossipEvents, fetcher: MetadataFetcher,
        ring: RingChanges, driver: LoopDriver, network: any Network, time: any TimeSource, log: OperatorLog,
        stop: StopSignal, seed: UInt64
    ) {
        self.configuration = configuration
        self.local = local
        self.liveness = liveness
        self.metadata = metadata
        self.queries = queries
        self.storage = storage
        self.events = events
        self.fetcher = fetcher
        self.ring = ring
        self.driver = driver
        self.network = network
        self.time = time
        self.log = log
        self.stop = stop
        self.seed = seed
    }

    /// Begins to gossip.
    /// - Parameter states: what the seeds have said of the nodes.
    func start(generation: Int64, status: GossipStatus, knowing states: [GossipEntry] = []) {
        // Members are gossiped with even when nobody is known to live: they are known since the last run.
        let seeds = configuration.seedEndpoints + (metadata.current?.members.map(\.node.endpoint) ?? [])
        var options = GossipConfiguration(
            clusterName: configuration.clusterName, endpoint: local.endpoint, hostID: local.hostID, seeds: seeds)
        options.failure.threshold = configuration.phiConvictThreshold
        var gossiper = Gossiper(configuration: options, generation: generation, seed: seed ^ 0x6055)
        gossiper.setLocal(.dataCenter, configuration.dataCenter)
        gossiper.setLocal(.rack, configuration.rack)
        gossiper.setLocal(.releaseVersion, NodeInfo.releaseVersion)
        gossiper.setLocal(.nativeAddress, configuration.listenAddress)
        gossiper.setLocal(.nativePort, "\(local.nativePort.load(ordering: .relaxed))")
        gossiper.setLocal(.metadataEpoch, "\(metadata.epoch)")
        gossiper.setLocal(.schema, queries.schema.version.description)
        gossiper.setLocal(status: status)
        let effects = liveness.gossiper.withLock { held in
            let effects = gossiper.adopt(states, now: time.monotonicMicroseconds(), wall: time.wallMicroseconds())
            held = gossiper
            return effects
        }
        perform(effects)
        tick(round: 0)
    }

    /// Runs one round, and the next a second later; the first few follow each other faster, so that a node that starts
    /// soon knows which nodes are alive.
    private func tick(round: Int) {
        if stop.isSet { return }
        perform(
            liveness.gossiper.withLock {
                $0?.tick(now: time.monotonicMicroseconds(), wall: time.wallMicroseconds()) ?? []
            })
        if round % 10 == 9 { fetcher.catchUp() }
        if round % 30 == 29 { ring.settleLater() }
        if round % 60 == 10 {
            let bytes = storage.sstableBytes
            liveness.gossiper.withLock { $0?.setLocal(.load, "\(bytes)") }
        }
        let wait: UInt64 = round < 10 ? 100_000_000 : UInt64(GossipConfiguration.interval) * 1000
        network.schedule(loop: 0, nanoseconds: wait) { [weak self] in self?.tick(round: round + 1) }
    }

    /// Takes a gossip message of another node.
    func receive(_ bytes: [UInt8], from sender: Endpoint) {
        if stop.isSet { return }
        let message: GossipMessage
        do throws(GossipError) { message = try GossipMessage(decoding: bytes) } catch {
            return log.report("a gossip message of \(sender) does not parse: \(error)")
        }
        let now = { [time] in time.monotonicMicroseconds() }
        let answers = shadow.withLock { $0?.receive(message, from: sender, now: now()) }
        if let answers { return perform(answers) }
        perform(
            liveness.gossiper.withLock {
                $0?.receive(message, from: sender, now: now(), wall: time.wallMicroseconds()) ?? []
            })
    }

    private func perform(_ effects: [GossipEffect]) {
        var viewsChanged = false
        for effect in effects {
            switch effect {
            case .send(let message, let endpoint): send(message, to: endpoint)
            case .event(let event): viewsChanged = events.handle(event) || viewsChanged
            }
        }
        if viewsChanged { events.refreshViews() }
    }

    private func send(_ message: GossipMessage, to endpoint: Endpoint) {
        var out = ByteWriter(capacity: 1024)
        message.encode(to: &out)
        let bytes = out.toArray()
        network.onLoop(0) { [driver] in
            driver.ask(.gossip(bytes), at: endpoint, wanted: nil, timeout: GossipConfiguration.interval) { _ in }
        }
    }

    // MARK: What this node says

    /// Tells all nodes at once what version of the metadata this node has now.
    func announceVersion(of schema: Schema) {
        let epoch = metadata.epoch
        perform(
            liveness.gossiper.withLock { gossiper in
                guard gossiper != nil else { return [] }
                gossiper?.setLocal(.metadataEpoch, "\(epoch)")
                gossiper?.setLocal(.schema, schema.version.description)
                return gossiper?.announce() ?? []
            })
    }

    /// Tells all nodes at once what this node does.
    func announce(_ status: GossipStatus) {
        perform(
            liveness.gossiper.withLock { gossiper in
                gossiper?.setLocal(status: status)
                return gossiper?.announce() ?? []
            })
    }

    /// Tells the others that this node has left the cluster.
    func announceLeft() {
        perform(liveness.gossiper.withLock { $0?.leave(wall: time.wallMicroseconds()) ?? [] })
    }

    /// Tells the others that this node stops.
    /// - Returns: whether there was anybody to tell.
    func announceShutdown() -> Bool {
        let effects = liveness.gossiper.withLock { $0?.shutdown() ?? [] }
        if effects.isEmpty { return false }
        perform(effects)
        return true
    }

    /// Tells the others that a member is gone.
    func announceRemoval(of endpoint: Endpoint) {
        let effects = liveness.gossiper.withLock { gossiper -> [GossipEffect] in
            do throws(GossipRemovalError) {
                return try gossiper?.remove(
                    endpoint, now: time.monotonicMicroseconds(), wall: time.wallMicroseconds()) ?? []
            } catch { return [] }  // gossip does not know it: there is nothing to forget
        }
        perform(effects)
    }

    // MARK: Before this node gossips

    /// Prepares to ask the seeds what they know, saying nothing of this node; `endShadowRound` ends it.
    func beginShadowRound() {
        let round = ShadowRound(
            configuration: GossipConfiguration(
                clusterName: configuration.clusterName, endpoint: local.endpoint, hostID: local.hostID,
                seeds: configuration.seedEndpoints))
        shadow.withLock { $0 = round }
    }

    /// Asks the seeds, which may be repeated.
    func askSeeds() { perform(shadow.withLock { $0?.tick(now: time.monotonicMicroseconds()) ?? [] }) }

    /// What came of asking the seeds; nil while they have not answered.
    var shadowOutcome: ShadowOutcome? { shadow.withLock { $0?.outcome } }

    func endShadowRound() { shadow.withLock { $0 = nil } }
}
