import DataModel
import Messages
import Primitives

/// Applies what is kept of an earlier write: a logged batch that its coordinator did not have removed, or hints whose node is no replica of them any more.
///
/// 1. All its mutations go to all their replicas, with the timestamps they were made with. What was of a table that was dropped is left out.
/// 2. It waits for every live replica, until the deadline.
/// 3. When each partition has been applied by a majority of its replicas (one more for each pending one), what is stored may be removed, and the others have
///    a hint, as old as the write. One replica is not enough: hints may be off or refused, and a node that has not heard of newer members yet may take
///    itself for a replica, and be the only one that has it.
/// 4. Else nothing is hinted, and it is to be replayed again: what is stored is the hint. Where too few replicas live nothing is sent.
final class ReplayOperation: Operation {
    private let parts: [PartitionedMutations.Part]
    /// Seconds since 1970.
    private let writtenAt: UInt32
    private var plan = WritePlan()
    private var left = 0

    init(
        _ coordinator: Coordinator, cluster: ClusterView, parts: [PartitionedMutations.Part], writtenAt: UInt32, deadline: Int64
    ) {
        self.writtenAt = writtenAt
        self.parts = parts.filter { cluster.placement(of: $0.table) != nil }
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        // At ANY, for the plan alone: what is enough is decided here.
        do throws(ServerError) { plan = try WritePlan(parts, .any, cluster, isMetByHints: true) } catch { return finish(.failure(error)) }
        let alive = plan.targets.indices.filter { cluster.isAlive[plan.targets[$0].node] }
        if let lacking = plan.groups.first(where: { group in group.replicas.count { cluster.isAlive[$0] } < group.majority }) {
            return finish(
                .failure(
                    CoordinatorErrors.unavailable(
                        .quorum, required: lacking.majority, alive: lacking.replicas.count { cluster.isAlive[$0] })))
        }
        left = alive.count
        if left == 0 { return conclude() }
        for index in alive { ask(plan.targets[index].node, .hint(plan.targets[index].mutations), tag: index, now: now) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
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
        finish(.success(.done))
    }
}
