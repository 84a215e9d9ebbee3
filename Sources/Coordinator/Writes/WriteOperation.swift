import DataModel
import Messages
import Primitives

/// Sends mutations to the replicas of their partitions and counts answers.
///
/// 1. Mutations are grouped by partition. Each group has its replicas, natural and pending, and must reach the
///    consistency level.
/// 2. If too few replicas of some group are alive, nothing is sent: Unavailable.
/// 3. Each live replica gets one message with all its mutations. Each dead replica gets a hint.
/// 4. In a keyspace with a sloppy quorum, when too few replicas are alive, other nodes store hints for the dead ones
///    and count as their answers.
/// 5. When every group has reached its level, the write is done. Replicas that fail, or are silent until the deadline,
///    get a hint, even after that.
class WriteOperation: Operation {
    private var consistency = Consistency.one
    private var type = WriteType.simple
    private var plan = WritePlan()
    private var parts: [PartitionedMutations.Part] = []

    init(
        _ coordinator: Coordinator, cluster: ClusterView, parts: [PartitionedMutations.Part], consistency: Consistency,
        type: WriteType,
        deadline: Int64
    ) {
        self.parts = parts
        self.consistency = consistency
        self.type = type
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    /// Prepares an operation that has ended, and whose mutations were removed, for another write of one partition.
    final func reuse(
        for part: PartitionedMutations.Part, cluster: ClusterView, consistency: Consistency, type: WriteType,
        deadline: Int64
    ) {
        reset(cluster: cluster, deadline: deadline)
        parts.append(part)
        self.consistency = consistency
        self.type = type
    }

    override var asReusableWrite: WriteOperation? { self }

    /// Drops the mutations of a write that has ended.
    final func removeMutations() {
        parts.removeAll(keepingCapacity: true)
        plan.removeTargets()
    }

    private var isMetByHints: Bool { consistency == .any && coordinator.limits.hintedHandoff }

    /// Counter writes, transactions and logged batches never use fallback nodes.
    private var mayBeSloppy: Bool { coordinator.limits.hintedHandoff && (type == .simple || type == .unloggedBatch) }

    /// Computes the recipients and required answers.
    final func makePlan() throws(ServerError) {
        do throws(ServerError) {
            try plan.make(parts, consistency, cluster, isMetByHints: isMetByHints, mayBeSloppy: mayBeSloppy)
        } catch {
            viewLacksTable = parts.contains { cluster.placement(of: $0.table) == nil }
            throw error
        }
    }

    /// Whether every group has been applied by at least one replica, not only hinted.
    final var isAppliedSomewhere: Bool { plan.isAppliedSomewhere }

    override func start(now: Int64) {
        do throws(ServerError) { try makePlan() } catch { return finish(.failure(error)) }
        send(now: now)
    }

    /// Sends the plan's requests and stores hints for dead replicas.
    final func send(now: Int64) {
        for index in plan.targets.indices {
            let node = plan.targets[index].node
            guard cluster.isAlive[node] else {
                keepHint(index)
                continue
            }
            if let replica = plan.targets[index].hintedFor {
                let id = cluster.ring.nodes[replica].id
                ask(node, .keepHint(for: id, plan.targets[index].mutations), tag: index, now: now)
            } else {
                ask(node, .write(plan.targets[index].mutations), tag: index, now: now)
            }
        }
        settle()
    }

    private func keepHint(_ index: Int) {
        let target = plan.targets[index]
        coordinator.hint(target.mutations, for: cluster.ring.nodes[target.hintedFor ?? target.node].id, of: self)
        plan.hint(index, isAnswer: isMetByHints, cluster)
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if case .failed = reply {
            keepHint(tag)
            plan.fail(tag)
        } else {
            plan.apply(tag, cluster)
        }
        settle()
        if outstanding == 0 { plan.removeTargets() }
    }

    private func succeed() {
        reachedLevel()
        if plan.kept > 0 { return finish(.success(.sloppy(fallbackReplicas: plan.kept))) }
        finish(.success(isAppliedSomewhere ? .done : .hinted))
    }

    /// Called when all groups have reached their level, before the client is told.
    func reachedLevel() {}

    /// Finishes the operation when all groups have reached their level, or one no longer can.
    private func settle() {
        if isFinished { return }
        if plan.isMet { return succeed() }
        for (index, group) in plan.groups.enumerated() where !group.count.isMet && group.failures > 0 {
            let waiting = plan.targets.filter { !$0.isSettled && $0.belongs(to: index) && cluster.isAlive[$0.node] }
            if group.count.couldBeMet(with: waiting.lazy.map(\.node), in: cluster) { continue }
            return finish(
                .failure(
                    CoordinatorErrors.writeFailure(
                        consistency, type, received: group.count.total, required: group.count.required,
                        failures: group.failures)))
        }
    }

    override func expire(now: Int64) {
        // Hints first: at ANY a hint counts as an answer.
        for index in plan.targets.indices where !plan.targets[index].isSettled { keepHint(index) }
        plan.removeTargets()
        if isFinished { return }
        guard let late = plan.groups.first(where: { !$0.count.isMet }) else {
            return succeed()
        }
        coordinator.count { $0.timeouts += 1 }
        finish(
            .failure(
                CoordinatorErrors.writeTimeout(
                    consistency, type, received: late.count.total, required: late.count.required)))
    }
}
