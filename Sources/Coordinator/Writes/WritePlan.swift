import DataModel
import Primitives

/// The recipients of a write's mutations and the answers it needs.
struct WritePlan {
    /// The mutations of one partition, or of several with the same replicas.
    struct Group {
        /// Natural and pending replicas.
        var replicas: [Int]
        /// More than half of the natural replicas plus every pending one: a majority among both the previous and the
        /// next owners.
        var majority: Int
        var count: ResponseTracker
        var failures = 0
        /// Replicas that have applied its mutations.
        var applied = 0
        /// The nodes that store hints for dead replicas.
        var fallbackReplicas: [FallbackReplica] = []
    }

    struct Target {
        /// The node to ask.
        let node: Int
        /// The dead replica, if `node` is asked to store a hint for it.
        var hintedFor: Int?
        let mutations: [UInt8]
        let groups: [Int]
        /// Whether the node has answered, or a hint was stored.
        var isSettled = false
    }

    var groups: [Group] = []
    /// Remote nodes come before this one: they work while this node does.
    var targets: [Target] = []
    /// The number of fallback nodes that have stored their hints.
    var kept = 0

    init() {}

    /// - Parameters:
    ///   - isMetByHints: whether a hint counts as an answer.
    ///   - mayBeSloppy: whether fallback nodes may be used if too few replicas are alive and the keyspace allows it.
    /// - Throws: `unavailable` when too few replicas of some group are alive; `invalid` for an unknown table.
    init(
        _ parts: [PartitionedMutations.Part], _ consistency: Consistency, _ cluster: ClusterView, isMetByHints: Bool,
        mayBeSloppy: Bool = false
    ) throws(ServerError) {
        // A recipient is a node index; the bits above 32 hold the index of the dead replica, if any, plus 1.
        var order: [Int] = []
        var payloads: [Int: (mutations: [UInt8], groups: [Int])] = [:]
        for part in parts {
            guard let placement = cluster.placement(of: part.table) else {
                throw .unknownTable(part.table)
            }
            let isForgotten = PlantedBugs.isOn(.pendingNotWritten)
            let writers =
                isForgotten ? placement.table.replicas(for: part.token) : placement.table.writeReplicas(for: part.token)
            let joining = isForgotten ? writers.suffix(0) : placement.table.pendingReplicas(for: part.token)
            let replicas = writers.map { Int($0) }
            let pending = joining.map { Int($0) }
            let count = ResponseTracker(
                consistency, placement.replication, near: cluster.dataCenter(cluster.local),
                pending: pending.map(cluster.dataCenter))
            let alive = replicas.filter { cluster.isAlive[$0] }
            var fallbackReplicas: [FallbackReplica] = []
            if !isMetByHints, !count.couldBeMet(with: alive, in: cluster) {
                if mayBeSloppy && placement.rules.isSloppy {
                    fallbackReplicas = cluster.fallbackReplicas(
                        of: part.token, natural: placement.table.replicas(for: part.token).map { Int($0) },
                        replicas: replicas,
                        placement: placement, count: count)
                }
                let there = alive + fallbackReplicas.map(\.node)
                guard count.couldBeMet(with: there, in: cluster) else {
                    let counted = there.filter { count.counts(isNear: cluster.isNear[$0]) }
                    throw CoordinatorErrors.unavailable(consistency, required: count.required, alive: counted.count)
                }
            }
            let index: Int
            if let same = groups.firstIndex(where: {
                $0.replicas == replicas && $0.count == count && $0.fallbackReplicas == fallbackReplicas
            }) {
                index = same
            } else {
                index = groups.count
                groups.append(
                    Group(
                        replicas: replicas, majority: (replicas.count - pending.count) / 2 + 1 + pending.count,
                        count: count,
                        fallbackReplicas: fallbackReplicas))
            }
            if parts.count == 1 && fallbackReplicas.isEmpty {
                for replica in replicas where replica != cluster.local { add(replica, part.mutations) }
                if replicas.contains(cluster.local) { add(cluster.local, part.mutations) }
                return
            }
            for replica in replicas {
                let fallbackReplica = fallbackReplicas.first { $0.replica == replica }
                let recipient = fallbackReplica.map { $0.node | ($0.replica + 1) << 32 } ?? replica
                if payloads[recipient] == nil { order.append(recipient) }
                payloads[recipient, default: ([], [])].mutations += part.mutations
                // Add each group once, even if its partitions are not adjacent: an answer counts once per group.
                if payloads[recipient]?.groups.contains(index) == false { payloads[recipient]?.groups.append(index) }
            }
        }
        for recipient in order.filter({ $0 & 0xffff_ffff != cluster.local })
            + order.filter({ $0 & 0xffff_ffff == cluster.local })
        {
            guard let payload = payloads[recipient] else { continue }
            let hintedFor = recipient >> 32 > 0 ? (recipient >> 32) - 1 : nil
            targets.append(
                Target(
                    node: recipient & 0xffff_ffff, hintedFor: hintedFor, mutations: payload.mutations,
                    groups: payload.groups))
        }
    }

    private static let firstGroup = [0]

    /// Adds a target of a write with one group.
    private mutating func add(_ node: Int, _ mutations: [UInt8]) {
        targets.append(Target(node: node, hintedFor: nil, mutations: mutations, groups: WritePlan.firstGroup))
    }

    /// Records that a target has applied or stored its mutations.
    mutating func apply(_ target: Int, _ cluster: ClusterView) {
        targets[target].isSettled = true
        let node = targets[target].node
        if targets[target].hintedFor != nil { kept += 1 }
        for group in targets[target].groups {
            if targets[target].hintedFor == nil { groups[group].applied += 1 }
            groups[group].count.add(node, in: cluster)
        }
    }
}
