import DataModel
import Messages
import Primitives

/// Sends mutations to the replicas of their partitions and counts answers.
///
/// 1. Mutations are grouped by partition; each group has its replicas, natural and pending, and must reach the consistency level.
/// 2. With too few live replicas for some group nothing is sent: Unavailable.
/// 3. One message goes to every live replica with all it gets; a hint is kept for each that is dead.
/// 4. When every group has its level, the write is done. Replicas that fail, or are silent until the deadline, get a hint, also after that.
final class WriteOperation: Operation {
    /// The mutations of one partition, or of several with the same replicas.
    private struct Group {
        var replicas: [Int]
        var count: AnswerCount
        var failures = 0
    }

    private struct Target {
        let node: Int
        let mutations: [UInt8]
        let groups: [Int]
        var isSettled = false
    }

    private let consistency: Consistency
    private let type: WriteType
    private var groups: [Group] = []
    private var targets: [Target] = []
    private let parts: [PartitionedMutations.Part]

    init(
        _ coordinator: Coordinator, cluster: ClusterView, parts: [PartitionedMutations.Part], consistency: Consistency, type: WriteType,
        deadline: Int64
    ) {
        self.parts = parts
        self.consistency = consistency
        self.type = type
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        var order: [Int] = []
        var payloads: [Int: (mutations: [UInt8], groups: [Int])] = [:]
        for part in parts {
            guard let placement = cluster.placement(of: part.table) else {
                return finish(.failure(.invalid("table \(part.table) does not exist any more")))
            }
            let replicas = placement.table.writeReplicas(for: part.token).map { Int($0) }
            let pending = placement.table.pendingReplicas(for: part.token).map { Int($0) }
            let count = AnswerCount(
                consistency, placement.replication, near: cluster.dataCenter(cluster.local), pending: pending.map(cluster.dataCenter))
            let alive = replicas.filter { cluster.isAlive[$0] }
            let counted = alive.filter { count.counts(isNear: cluster.isNear[$0]) }
            let isMetByHints = consistency == .any && coordinator.limits.hintedHandoff
            if !isMetByHints, !count.couldBeMet(with: alive.map { (cluster.dataCenter($0), cluster.isNear[$0]) }) {
                return finish(.failure(CoordinatorErrors.unavailable(consistency, required: count.required, alive: counted.count)))
            }
            let index: Int
            if let same = groups.firstIndex(where: { $0.replicas == replicas && $0.count == count }) {
                index = same
            } else {
                index = groups.count
                groups.append(Group(replicas: replicas, count: count))
            }
            for node in replicas {
                if payloads[node] == nil { order.append(node) }
                payloads[node, default: ([], [])].mutations += part.mutations
                // Once, also when the group's partitions come with others between them: an answer counts once for a group.
                if payloads[node]?.groups.contains(index) == false { payloads[node]?.groups.append(index) }
            }
        }
        // Others first: they work while this node does.
        for node in order.filter({ $0 != cluster.local }) + order.filter({ $0 == cluster.local }) {
            guard let payload = payloads[node] else { continue }
            targets.append(Target(node: node, mutations: payload.mutations, groups: payload.groups))
        }
        for index in targets.indices {
            if cluster.isAlive[targets[index].node] {
                ask(targets[index].node, .write(targets[index].mutations), tag: index, now: now)
            } else {
                keepHint(index)
            }
        }
        settle()
    }

    private func keepHint(_ index: Int) {
        let target = targets[index]
        targets[index].isSettled = true
        coordinator.hint(target.mutations, for: cluster.ring.nodes[target.node].id)
        guard consistency == .any, coordinator.limits.hintedHandoff else { return }
        for group in target.groups { groups[group].count.add(dataCenter: cluster.dataCenter(target.node), isNear: true) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        let target = targets[tag]
        if case .failed = reply {
            keepHint(tag)
            for group in target.groups { groups[group].failures += 1 }
        } else {
            targets[tag].isSettled = true
            for group in target.groups {
                groups[group].count.add(dataCenter: cluster.dataCenter(node), isNear: cluster.isNear[node])
            }
        }
        settle()
        if outstanding == 0 { targets = [] }
    }

    /// Ends the operation when all groups have their level, or one cannot get it any more.
    private func settle() {
        if isFinished { return }
        if groups.allSatisfy(\.count.isMet) { return finish(.success(.done)) }
        for (index, group) in groups.enumerated() where !group.count.isMet && group.failures > 0 {
            let waiting = targets.filter { !$0.isSettled && $0.groups.contains(index) && cluster.isAlive[$0.node] }
            if group.count.couldBeMet(with: waiting.map { (cluster.dataCenter($0.node), cluster.isNear[$0.node]) }) { continue }
            return finish(
                .failure(
                    CoordinatorErrors.writeFailure(
                        consistency, type, received: group.count.total, required: group.count.required, failures: group.failures)))
        }
    }

    override func expire(now: Int64) {
        // First: at ANY a hint is as good as an answer.
        for index in targets.indices where !targets[index].isSettled { keepHint(index) }
        targets = []
        if isFinished { return }
        guard let late = groups.first(where: { !$0.count.isMet }) else { return finish(.success(.done)) }
        coordinator.count { $0.timeouts += 1 }
        finish(.failure(CoordinatorErrors.writeTimeout(consistency, type, received: late.count.total, required: late.count.required)))
    }
}
