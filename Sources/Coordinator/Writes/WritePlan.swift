import DataModel
import Primitives

/// Which node gets which mutations of a write, and which answers it needs.
struct WritePlan {
    /// The mutations of one partition, or of several with the same replicas.
    struct Group {
        /// Natural and pending.
        var replicas: [Int]
        var count: AnswerCount
        var failures = 0
        /// Replicas that have applied its mutations.
        var applied = 0
    }

    struct Target {
        let node: Int
        let mutations: [UInt8]
        let groups: [Int]
        /// It has answered, or has a hint.
        var isSettled = false
    }

    var groups: [Group] = []
    /// Others first: they work while this node does.
    var targets: [Target] = []

    init() {}

    /// - Parameter isMetByHints: a hint is as good as an answer.
    /// - Throws: `unavailable` with too few live replicas for some group; `invalid` for a table that is not there.
    init(
        _ parts: [PartitionedMutations.Part], _ consistency: Consistency, _ cluster: ClusterView, isMetByHints: Bool
    ) throws(ServerError) {
        var order: [Int] = []
        var payloads: [Int: (mutations: [UInt8], groups: [Int])] = [:]
        for part in parts {
            guard let placement = cluster.placement(of: part.table) else {
                throw .invalid("table \(part.table) does not exist any more")
            }
            let isForgotten = PlantedBugs.isOn(.pendingNotWritten)
            let writers = isForgotten ? placement.table.replicas(for: part.token) : placement.table.writeReplicas(for: part.token)
            let joining = isForgotten ? writers.suffix(0) : placement.table.pendingReplicas(for: part.token)
            let replicas = writers.map { Int($0) }
            let pending = joining.map { Int($0) }
            let count = AnswerCount(
                consistency, placement.replication, near: cluster.dataCenter(cluster.local), pending: pending.map(cluster.dataCenter))
            let alive = replicas.filter { cluster.isAlive[$0] }
            if !isMetByHints, !count.couldBeMet(with: alive.map { (cluster.dataCenter($0), cluster.isNear[$0]) }) {
                let counted = alive.filter { count.counts(isNear: cluster.isNear[$0]) }
                throw CoordinatorErrors.unavailable(consistency, required: count.required, alive: counted.count)
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
        for node in order.filter({ $0 != cluster.local }) + order.filter({ $0 == cluster.local }) {
            guard let payload = payloads[node] else { continue }
            targets.append(Target(node: node, mutations: payload.mutations, groups: payload.groups))
        }
    }

    /// A target has applied what it got.
    mutating func apply(_ target: Int, _ cluster: ClusterView) {
        targets[target].isSettled = true
        let node = targets[target].node
        for group in targets[target].groups {
            groups[group].applied += 1
            groups[group].count.add(dataCenter: cluster.dataCenter(node), isNear: cluster.isNear[node])
        }
    }
}
