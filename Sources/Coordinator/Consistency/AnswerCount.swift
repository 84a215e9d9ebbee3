import DataModel

/// Counts the replicas that answered, against what a consistency level needs.
///
/// 1. Most levels need a number of answers: of the replicas near by (`LOCAL_…`), or of all.
/// 2. EACH_QUORUM needs a quorum in every data center that has replicas.
/// 3. A write needs one answer more for each pending replica it goes to, so that it has its level among the owners of before and of after.
struct AnswerCount: Equatable {
    private struct Part: Equatable {
        let dataCenter: String
        var needed: Int
        var received = 0
    }

    /// With EACH_QUORUM, of each data center; else empty.
    private var parts: [Part] = []
    private let isLocal: Bool
    /// What the error messages report.
    let required: Int
    private(set) var total = 0

    /// - Parameter pending: data centers of the pending replicas; empty for reads.
    init(_ consistency: Consistency, _ replication: Replication, near: String, pending: [String] = []) {
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
            let extra = isLocal ? pending.filter { $0 == near }.count : pending.count
            required = ConsistencyCheck.required(consistency, replication) + extra
        }
    }

    /// Whether an answer of a replica counts at all.
    func counts(isNear: Bool) -> Bool { !isLocal || isNear }

    var isMet: Bool { parts.isEmpty ? total >= required : parts.allSatisfy { $0.received >= $0.needed } }

    /// Whether answers of these nodes as well would be enough.
    func couldBeMet(with nodes: some Sequence<Int>, in cluster: ClusterView) -> Bool {
        var copy = self
        for node in nodes { copy.add(node, in: cluster) }
        return copy.isMet
    }

    /// A node has answered.
    mutating func add(_ node: Int, in cluster: ClusterView) {
        let isNear = cluster.isNear[node]
        guard counts(isNear: isNear) else { return }
        total += 1
        if parts.isEmpty { return }
        let dataCenter = cluster.dataCenter(node)
        for place in parts.indices where parts[place].dataCenter == dataCenter { parts[place].received += 1 }
    }

    /// Whether `later`, with one answer more, is nearer to the level than this.
    func gains(from later: AnswerCount) -> Bool {
        if parts.isEmpty { return later.total > total && total < required }
        return zip(parts, later.parts).contains { own, further in further.received > own.received && own.received < own.needed }
    }
}
