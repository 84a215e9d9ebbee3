import DataModel
import Messages
import Primitives

/// Applies what is kept of an earlier write: a logged batch that its coordinator did not have removed, or hints whose node is no replica of them any more.
///
/// 1. A batch is first stored by another node as well: whoever replays it may be lost for ever when a part of it has been applied. Where another could and
///    none does, nothing is sent.
/// 2. All its mutations go to all their replicas, with the timestamps they were made with. What was of a table that was dropped is left out.
/// 3. It waits for every live replica, until the deadline.
/// 4. When each partition has been applied by a majority of its replicas (one more for each pending one), what is stored may be removed, and the others have
///    a hint, as old as the write. One replica is not enough: hints may be off or refused, and a node that has not heard of newer members yet may take
///    itself for a replica, and be the only one that has it.
/// 5. Else nothing is hinted, and it is to be replayed again: what is stored is the hint. Where too few replicas live nothing is sent.
final class ReplayOperation: Operation {
    private let parts: [PartitionedMutations.Part]
    /// Seconds since 1970.
    private let writtenAt: UInt32
    private var plan = WritePlan()
    private var left = 0
    private let batch: LoggedBatch?
    /// Who may store the batch, in order.
    private var candidates: [Int] = []
    /// Who stores it, beside this node.
    private var keeper: Int?

    /// - Parameter batch: what this node has stored; nil for hints.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, parts: [PartitionedMutations.Part], batch: LoggedBatch?, writtenAt: UInt32,
        deadline: Int64
    ) {
        self.batch = batch
        self.writtenAt = writtenAt
        self.parts = parts.filter { cluster.placement(of: $0.table) != nil }
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        // At ANY, for the plan alone: what is enough is decided here.
        do throws(ServerError) { plan = try WritePlan(parts, .any, cluster, isMetByHints: true) } catch { return finish(.failure(error)) }
        if let lacking = plan.groups.first(where: { group in group.replicas.count { cluster.isAlive[$0] } < group.majority }) {
            return finish(
                .failure(
                    CoordinatorErrors.unavailable(
                        .quorum, required: lacking.majority, alive: lacking.replicas.count { cluster.isAlive[$0] })))
        }
        guard let batch, !plan.targets.isEmpty, cluster.hasOtherLogNodes else { return send(now: now) }
        // The same each time: a batch that is replayed often is not stored by more and more nodes.
        var random = SeededRandom(seed: batch.key.id.low)
        candidates = cluster.chooseLogNodes(random: &random)
        askToKeep(now: now)
    }

    private func askToKeep(now: Int64) {
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
            guard case .done = reply else { return askToKeep(now: now) }
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
                .failure(CoordinatorErrors.writeTimeout(.quorum, .batch, received: lacking.applied, required: lacking.majority)))
        }
        for target in plan.targets where !target.isSettled {
            coordinator.hint(target.mutations, for: cluster.ring.nodes[target.node].id, of: self, writtenAt: writtenAt)
        }
        if let batch, let keeper { coordinator.tell(.removeBatch(batch.key), to: cluster.ring.nodes[keeper].id) }
        finish(.success(.done))
    }
}
