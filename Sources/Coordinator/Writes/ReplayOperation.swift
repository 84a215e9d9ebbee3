import DataModel
import Messages
import Primitives

/// Applies what is kept of an earlier write: a logged batch that its coordinator did not have removed, or hints whose node is no replica of them any more.
///
/// 1. All its mutations go to all their replicas, with the timestamps they were made with. What was of a table that was dropped is left out.
/// 2. It waits for every live replica, until the deadline.
/// 3. When each partition has been applied by a replica (one more for each pending one), the others have a hint, as old as the write, and what is stored may be removed.
///    Else nothing is hinted, and it is to be replayed again: what is stored is the hint. With no live replica of some partition nothing is sent.
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
        do throws(ServerError) { plan = try WritePlan(parts, .one, cluster, isMetByHints: false) } catch { return finish(.failure(error)) }
        let alive = plan.targets.indices.filter { cluster.isAlive[plan.targets[$0].node] }
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
        if let lacking = plan.groups.first(where: { !$0.count.isMet }) {
            return finish(
                .failure(CoordinatorErrors.writeTimeout(.one, .batch, received: lacking.count.total, required: lacking.count.required)))
        }
        for target in plan.targets where !target.isSettled {
            coordinator.hint(target.mutations, for: cluster.ring.nodes[target.node].id, of: self, writtenAt: writtenAt)
        }
        finish(.success(.done))
    }
}
