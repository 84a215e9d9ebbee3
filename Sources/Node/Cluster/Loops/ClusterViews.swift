import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Synchronization

/// Makes the immutable `ClusterView` that requests see, from the metadata, gossip and the latencies of reads, and gives
/// the newest one to every loop.
///
/// **Thread safety**: all methods, from any thread, but for those that say otherwise. The view's lock is held for
/// computation only; the snitch's is taken while it is held, the gossiper's never.
final class ClusterViews: Sendable {
    private let local: LocalNode
    private let metadata: MetadataStore
    private let liveness: Liveness
    private let drivers: [LoopDriver]
    private let network: any Network
    private let time: any TimeSource
    private let badnessThreshold: Double
    private let snitch: Mutex<DynamicSnitch>
    /// The newest view and the version of the schema it was made from.
    private let newest = Mutex<(view: ClusterView, schema: UUID)?>(nil)

    init(
        configuration: NodeConfiguration, local: LocalNode, metadata: MetadataStore, liveness: Liveness,
        drivers: [LoopDriver], network: any Network, time: any TimeSource
    ) {
        self.local = local
        self.metadata = metadata
        self.liveness = liveness
        self.drivers = drivers
        self.network = network
        self.time = time
        badnessThreshold = configuration.dynamicSnitchBadnessThreshold
        let reset = configuration.dynamicSnitchResetInterval.microseconds
        snitch = Mutex(DynamicSnitch(forgetAfter: reset > 0 ? reset : .max))
    }

    /// The newest view; nil before the node belongs to a cluster.
    var current: ClusterView? { newest.withLock { $0?.view } }

    /// Makes a view of what is known now and gives it to every loop; does nothing before the node is a member.
    func refresh(_ schema: Schema) {
        guard let metadata = metadata.current, metadata.member(local.hostID) != nil else { return }
        let alive = liveness.gossiper.withLock { gossiper in
            metadata.members.map { member in
                member.node.id == local.hostID || gossiper?.isAlive(member) ?? false
            }
        }
        newest.withLock { newest in
            let known: ClusterView
            if let (view, version) = newest, view.epoch == metadata.epoch, version == schema.version {
                known = view
            } else {
                known = view(of: metadata, schema, isAlive: alive)
            }
            let now = time.monotonicMicroseconds()
            let next = known.with(
                isAlive: alive, scores: snitch.withLock { $0.scores(of: known.ring, now: now) },
                badnessThreshold: badnessThreshold)
            newest = (next, schema.version)
            give(next)
        }
    }

    private func view(of metadata: ClusterMetadata, _ schema: Schema, isAlive: [Bool]) -> ClusterView {
        let ring = metadata.ring
        return ClusterView(
            ring: ring, local: local.hostID, isAlive: isAlive,
            distance: ring.index(of: local.hostID).map { ring.distances(from: $0) } ?? [],
            keyspaces: schema.keyspaces.mapValues(\.replication),
            tables: schema.tables.mapValues { table in
                TableRules(
                    keyspace: table.keyspace,
                    speculativeRetry: SpeculativeRetry(option: table.options.speculativeRetry),
                    repairsReads: table.options.readRepair != "NONE",
                    isSloppy: schema.keyspaces[table.keyspace]?.sloppyQuorum ?? false)
            },
            epoch: metadata.epoch, former: metadata.previousRing)
    }

    /// Gives every loop a view; with the view's lock held, so that each loop gets views in their order.
    private func give(_ view: ClusterView) {
        for driver in drivers {
            let copy = view.copy()
            network.onLoop(driver.loop) { driver.view = copy }
        }
    }

    /// Makes the first view and gives it to every loop at once; only before anything listens, when the loops do not
    /// run.
    func placeFirst(_ schema: Schema) {
        refresh(schema)
        if let view = current { for driver in drivers { driver.view = view.copy() } }
    }

    /// Takes over how fast nodes answered the reads of a loop: once an interval of each loop, while it reads.
    func record(_ latencies: [ReadLatency]) {
        newest.withLock { newest in
            guard let (view, version) = newest else { return }
            let now = time.monotonicMicroseconds()
            let scores = snitch.withLock { snitch in
                for one in latencies { snitch.record(one.node, latency: one.mean, count: one.count, now: now) }
                return snitch.scores(of: view.ring, now: now)
            }
            if view.order.isClose(to: scores) { return }
            let next = view.with(isAlive: view.isAlive, scores: scores, badnessThreshold: badnessThreshold)
            newest = (next, version)
            give(next)
        }
    }

    /// Forgets the latencies of a node that comes back, or has left: they say nothing of it any more.
    func forgetLatencies(of node: UUID) { snitch.withLock { $0.forget(node) } }
}
