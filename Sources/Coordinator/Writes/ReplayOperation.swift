import DataModel
import Messages
import Primitives

/// Replays an earlier write: a logged batch that its coordinator did not remove, or hints whose node is no longer a
/// replica.
///
/// 1. A batch is first stored by another node as well: the replaying node may be lost for ever after it has applied a
///    part. If such a node could exist but none stores the batch, nothing is sent.
/// 2. All mutations go to all their replicas, with their original timestamps. Mutations of dropped tables are left out.
/// 3. The operation waits for every live replica, until the deadline.
/// 4. When a majority of the replicas of each partition (plus one per pending replica) has applied it, the stored copy
///    may be removed, and the other replicas get a hint, dated as the write. One replica is not enough: hints may be
///    disabled or refused, and a node that does not know newer members may take itself for a replica and be the only
///    one with the data.
/// 5. Otherwise nothing is hinted and the write must be replayed again: the stored copy serves as the hint. If too few
///    replicas are alive, nothing is sent.
final class ReplayOperation: Operation {
    private let parts: [PartitionedMutations.Part]
    /// Seconds since 1970.
    private let writtenAt: UInt32
    private var plan = WritePlan()
    private var left = 0
    private let batch: LoggedBatch?
    /// Nodes that may store the batch, in order.
    private var candidates: [Int] = []
    /// The other node that stores the batch.
    private var keeper: Int?

    /// - Parameter batch: the batch stored by this node; nil for hints.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, parts: [PartitionedMutations.Part], batch: LoggedBatch?,
        writtenAt: UInt32,
        deadline: Int64
    ) {
        self.batch = batch
        self.writtenAt = writtenAt
        self.parts = parts.filter { cluster.placement(of: $0.table) != nil }
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        // The level ANY only makes the plan; `conclude` decides what is enough.
        do throws(ServerError) { try plan.make(parts, .any, cluster, isMetByHints: true) } catch {
            return finish(.failure(error))
        }
        if let lacking = plan.groups.first(where: { $0.alive < $0.majority }) {
            return finish(
                .failure(
                    CoordinatorErrors.unavailable(.quorum, required: lacking.majority, alive: lacking.alive)))
        }
        guard let batch, !plan.targets.isEmpty, cluster.hasOtherBatchlogNodes else { return send(now: now) }
        // The seed is the same each time, so that repeated replays do not store the batch on more and more nodes.
        var random = SeededRandom(seed: batch.key.id.low)
        candidates = cluster.chooseBatchlogNodes(random: &random)
        askToStoreBatch(now: now)
    }

    private func askToStoreBatch(now: Int64) {
        guard let batch, !candidates.isEmpty else {
            return finish(.failure(CoordinatorErrors.unavailable(.two, required: 2, alive: 1)))
        }
        ask(candidates.removeFirst(), .storeBatch(batch), tag: -1, now: now)
    }

    private func send(now: Int64) {
        let alive = plan.targets.indices.filter { cluster.isAlive[plan.targets[$0].node] }
        left = alive.count
        if left == 0 { return conclude() }
        for index in alive { ask(plan.targets[index].node, .hint(plan.targets[index].mutations), tag: index, now: now) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
        if tag < 0 {
            guard case .done = reply else { return askToStoreBatch(now: now) }
            keeper = node
            coordinator.postpone(self, until: now + coordinator.limits.writeTimeout)
            return send(now: now)
        }
        if case .done = reply { plan.apply(tag, cluster) }
        left -= 1
        if left == 0 { conclude() }
    }

    override func expire(now: Int64) { if !isFinished { conclude() } }

    private func conclude() {
        if let lacking = plan.groups.first(where: { group in group.applied < group.majority }) {
            return finish(
                .failure(
                    CoordinatorErrors.writeTimeout(
                        .quorum, .batch, received: lacking.applied, required: lacking.majority)))
        }
        for target in plan.targets where !target.isSettled {
            coordinator.hint(target.mutations, for: cluster.ring.nodes[target.node].id, of: self, writtenAt: writtenAt)
        }
        if let batch, let keeper { coordinator.tell(.removeBatch(batch.key), to: cluster.ring.nodes[keeper].id) }
        finish(.success(.done))
    }
}
