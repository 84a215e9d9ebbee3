import Cluster
import DataModel
import Primitives

/// The recipients of a write's mutations and the answers it needs.
///
/// A plan is made again for each write of an operation that is used again; its arrays keep their memory.
struct WritePlan {
    /// The mutations of one partition, or of several with the same replicas.
    struct Group {
        /// More than half of the natural replicas plus every pending one: a majority among both the previous and the
        /// next owners.
        var majority: Int
        /// The live replicas, natural and pending.
        var alive: Int
        var count: ResponseTracker
        var failures = 0
        /// Replicas that have applied its mutations.
        var applied = 0
    }

    struct Target {
        /// The node to ask.
        let node: Int
        /// The dead replica, if `node` is asked to store a hint for it.
        var hintedFor: Int?
        let mutations: [UInt8]
        /// The groups its mutations belong to: the first, and the others.
        let group: Int
        let otherGroups: [Int]
        /// Whether the node has answered, or a hint was stored.
        var isSettled = false

        func belongs(to other: Int) -> Bool { group == other || otherGroups.contains(other) }
    }

    private(set) var groups: [Group] = []
    /// Remote nodes come before this one: they work while this node does.
    private(set) var targets: [Target] = []
    /// The number of fallback nodes that have stored their hints.
    private(set) var kept = 0

    /// - Parameters:
    ///   - isMetByHints: whether a hint counts as an answer.
    ///   - mayBeSloppy: whether fallback nodes may be used if too few replicas are alive and the keyspace allows it.
    /// - Throws: `unavailable` when too few replicas of some group are alive; `invalid` for an unknown table.
    mutating func make(
        _ parts: [PartitionedMutations.Part], _ consistency: Consistency, _ cluster: ClusterView, isMetByHints: Bool,
        mayBeSloppy: Bool = false
    ) throws(ServerError) {
        removeAll()
        let rules = Rules(consistency: consistency, isMetByHints: isMetByHints, mayBeSloppy: mayBeSloppy)
        if parts.count == 1 {
            guard let placement = cluster.placement(of: parts[0].table) else { throw .unknownTable(parts[0].table) }
            let places = WritePlan.places(of: parts[0].token, placement)
            let (group, fallbacks) = try WritePlan.group(places, parts[0].token, placement, rules, cluster)
            if fallbacks.isEmpty {
                groups.append(group)
                return add(parts[0].mutations, to: places.writers, of: placement.table, local: cluster.local)
            }
        }
        try makeOfSeveral(parts, rules, cluster)
    }

    /// What a plan must respect besides the cluster.
    private struct Rules {
        let consistency: Consistency
        let isMetByHints: Bool
        let mayBeSloppy: Bool
    }

    private mutating func removeAll() {
        groups.removeAll(keepingCapacity: true)
        targets.removeAll(keepingCapacity: true)
        kept = 0
    }

    /// Drops the mutations: no target needs them any more.
    mutating func removeTargets() { targets.removeAll(keepingCapacity: true) }

    /// The places of the natural and pending replicas of a token.
    private static func places(of token: Int64, _ placement: TablePlacement) -> ReplicaTable.Places {
        var places = placement.table.places(for: token)
        if PlantedBugs.isOn(.pendingNotWritten) {
            places.pending = places.natural.upperBound..<places.natural.upperBound
        }
        return places
    }

    /// Adds the targets of a write with one group.
    private mutating func add(_ mutations: [UInt8], to places: Range<Int>, of table: ReplicaTable, local: Int) {
        targets.reserveCapacity(places.count)
        var isHere = false
        for place in places {
            let node = table.node(at: place)
            if node == local {
                isHere = true
            } else {
                targets.append(Target(node: node, mutations: mutations, group: 0, otherGroups: []))
            }
        }
        if isHere { targets.append(Target(node: local, mutations: mutations, group: 0, otherGroups: [])) }
    }

    /// Returns the group of a partition, and the fallback nodes it needs.
    private static func group(
        _ places: ReplicaTable.Places, _ token: Int64, _ placement: TablePlacement, _ rules: Rules,
        _ cluster: ClusterView
    ) throws(ServerError) -> (Group, [FallbackReplica]) {
        let table = placement.table
        let count = ResponseTracker(
            rules.consistency, placement.replication, near: cluster.dataCenter(cluster.local),
            pending: places.pending.map { cluster.dataCenter(table.node(at: $0)) })
        var reachable = count
        var alive = 0
        for place in places.writers where cluster.isAlive[table.node(at: place)] {
            alive += 1
            reachable.add(table.node(at: place), in: cluster)
        }
        var fallbacks: [FallbackReplica] = []
        if !rules.isMetByHints && !reachable.isMet {
            if rules.mayBeSloppy && placement.rules.isSloppy {
                fallbacks = cluster.fallbackReplicas(
                    of: token, natural: places.natural.map(table.node), replicas: places.writers.map(table.node),
                    placement: placement, count: count)
                for fallback in fallbacks { reachable.add(fallback.node, in: cluster) }
            }
            guard reachable.isMet else {
                throw CoordinatorErrors.unavailable(
                    rules.consistency, required: count.required, alive: reachable.total)
            }
        }
        let majority = places.natural.count / 2 + 1 + places.pending.count
        return (Group(majority: majority, alive: alive, count: count), fallbacks)
    }

    private mutating func makeOfSeveral(
        _ parts: [PartitionedMutations.Part], _ rules: Rules, _ cluster: ClusterView
    ) throws(ServerError) {
        // A recipient is a node index; the bits above 32 hold the index of the dead replica, if any, plus 1.
        var order: [Int] = []
        var payloads: [Int: (mutations: [UInt8], groups: [Int])] = [:]
        /// By group: its replicas and fallback nodes.
        var owners: [(replicas: [Int], fallbacks: [FallbackReplica])] = []
        for part in parts {
            guard let placement = cluster.placement(of: part.table) else { throw .unknownTable(part.table) }
            let places = WritePlan.places(of: part.token, placement)
            let (group, fallbacks) = try WritePlan.group(places, part.token, placement, rules, cluster)
            let replicas = places.writers.map(placement.table.node)
            let index: Int
            if let same = groups.indices.first(where: {
                owners[$0].replicas == replicas && groups[$0].count == group.count && owners[$0].fallbacks == fallbacks
            }) {
                index = same
            } else {
                index = groups.count
                groups.append(group)
                owners.append((replicas, fallbacks))
            }
            for replica in replicas {
                let fallback = fallbacks.first { $0.replica == replica }
                let recipient = fallback.map { $0.node | ($0.replica + 1) << 32 } ?? replica
                if payloads[recipient] == nil { order.append(recipient) }
                payloads[recipient, default: ([], [])].mutations += part.mutations
                // Add each group once, even if its partitions are not adjacent: an answer counts once per group.
                if payloads[recipient]?.groups.contains(index) == false { payloads[recipient]?.groups.append(index) }
            }
        }
        for recipient in order.filter({ $0 & 0xffff_ffff != cluster.local })
            + order.filter({ $0 & 0xffff_ffff == cluster.local })
        {
            guard let payload = payloads[recipient], let first = payload.groups.first else { continue }
            let hintedFor = recipient >> 32 > 0 ? (recipient >> 32) - 1 : nil
            targets.append(
                Target(
                    node: recipient & 0xffff_ffff, hintedFor: hintedFor, mutations: payload.mutations, group: first,
                    otherGroups: Array(payload.groups.dropFirst())))
        }
    }

    // MARK: Answers

    /// Records that a target has applied or stored its mutations.
    mutating func apply(_ target: Int, _ cluster: ClusterView) {
        targets[target].isSettled = true
        let node = targets[target].node
        let isHint = targets[target].hintedFor != nil
        if isHint { kept += 1 }
        changeGroups(of: target) { group in
            if !isHint { group.applied += 1 }
            group.count.add(node, in: cluster)
        }
    }

    /// Records that a target has failed.
    mutating func fail(_ target: Int) { changeGroups(of: target) { $0.failures += 1 } }

    /// Records that a hint was stored for a target.
    /// - Parameter isAnswer: whether the hint counts as its answer.
    mutating func hint(_ target: Int, isAnswer: Bool, _ cluster: ClusterView) {
        targets[target].isSettled = true
        guard isAnswer else { return }
        let node = targets[target].node
        changeGroups(of: target) { $0.count.add(node, in: cluster) }
    }

    private mutating func changeGroups(of target: Int, _ change: (inout Group) -> Void) {
        change(&groups[targets[target].group])
        if targets[target].otherGroups.isEmpty { return }
        for group in targets[target].otherGroups { change(&groups[group]) }
    }

    /// Whether every group has its answers.
    var isMet: Bool {
        for index in groups.indices where !groups[index].count.isMet { return false }
        return true
    }

    /// Whether every group has been applied by at least one replica, not only hinted.
    var isAppliedSomewhere: Bool {
        for index in groups.indices where groups[index].applied == 0 { return false }
        return true
    }
}
