import DataModel

/// Counts the answers of replicas against the number a consistency level needs.
///
/// 1. Most levels need a number of answers, either from this data center (`LOCAL_…`) or from all.
/// 2. EACH_QUORUM needs a quorum in every data center that has replicas.
/// 3. A write needs one more answer for each pending replica, so that it meets its level among both the previous and
///    the next owners.
struct ResponseTracker: Equatable {
    private struct Part: Equatable {
        let dataCenter: String
        var needed: Int
        var received = 0
    }

    /// With EACH_QUORUM, one part per data center; else empty.
    private var parts: [Part] = []
    private let isLocal: Bool
    /// The number that error messages report.
    let required: Int
    private(set) var total = 0

    /// - Parameters:
    ///   - near: this node's data center.
    ///   - pending: the data centers of the pending replicas; empty for reads.
    init(
        _ consistency: Consistency, _ replication: Replication, near: @autoclosure () -> String, pending: [String] = []
    ) {
        isLocal = consistency == .localOne || consistency == .localQuorum || consistency == .localSerial
        if consistency == .eachQuorum && !replication.dataCenters.isEmpty {
            for (name, factor) in replication.dataCenters.sorted(by: { $0.key < $1.key }) where factor > 0 {
                parts.append(Part(dataCenter: name, needed: factor / 2 + 1))
            }
            for name in pending {
                if let place = parts.firstIndex(where: { $0.dataCenter == name }) {
                    parts[place].needed += 1
                } else {
                    parts.append(Part(dataCenter: name, needed: 1))
                }
            }
            required = parts.reduce(0) { $0 + $1.needed }
        } else {
            var extra = pending.count
            if isLocal && extra > 0 {
                let near = near()
                extra = pending.count { $0 == near }
            }
            required = ConsistencyCheck.required(consistency, replication) + extra
        }
    }

    /// Whether an answer counts for this level.
    func counts(isNear: Bool) -> Bool { !isLocal || isNear }

    var isMet: Bool { parts.isEmpty ? total >= required : parts.allSatisfy { $0.received >= $0.needed } }

    /// Whether further answers from these nodes would meet the level.
    func couldBeMet(with nodes: some Sequence<Int>, in cluster: ClusterView) -> Bool {
        var copy = self
        for node in nodes { copy.add(node, in: cluster) }
        return copy.isMet
    }

    /// Counts a node's answer.
    mutating func add(_ node: Int, in cluster: ClusterView) {
        let isNear = cluster.isNear[node]
        guard counts(isNear: isNear) else { return }
        total += 1
        if parts.isEmpty { return }
        let dataCenter = cluster.dataCenter(node)
        for place in parts.indices where parts[place].dataCenter == dataCenter { parts[place].received += 1 }
    }

    /// Whether `later`, which has one more answer, is closer to the level.
    func gains(from later: ResponseTracker) -> Bool {
        if parts.isEmpty { return later.total > total && total < required }
        return zip(parts, later.parts).contains { own, further in
            further.received > own.received && own.received < own.needed
        }
    }
}
