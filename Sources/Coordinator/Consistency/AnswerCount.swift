import DataModel

/// Counts the replicas that answered, against what a consistency level needs.
///
/// 1. Most levels need a number of answers: of the replicas near by (`LOCAL_…`), or of all.
/// 2. EACH_QUORUM needs a quorum in every data center that has replicas.
/// 3. A write needs one answer more for each pending replica it goes to, so that it has its level among the owners of before and of after.
struct AnswerCount: Equatable {
    /// By data center with EACH_QUORUM, else one entry named "".
    private var needed: [String: Int]
    private var received: [String: Int] = [:]
    private let isLocal: Bool
    /// What the error messages report.
    let required: Int
    private(set) var total = 0

    /// - Parameter pending: data centers of the pending replicas; empty for reads.
    init(_ consistency: Consistency, _ replication: Replication, near: String, pending: [String] = []) {
        isLocal = consistency == .localOne || consistency == .localQuorum || consistency == .localSerial
        if consistency == .eachQuorum && !replication.dataCenters.isEmpty {
            needed = replication.dataCenters.filter { $0.value > 0 }.mapValues { $0 / 2 + 1 }
            for name in pending { needed[name, default: 0] += 1 }
            required = needed.values.reduce(0, +)
        } else {
            let extra = isLocal ? pending.filter { $0 == near }.count : pending.count
            required = ConsistencyCheck.required(consistency, replication) + extra
            needed = ["": required]
        }
    }

    private var isByDataCenter: Bool { needed[""] == nil }

    /// Whether an answer of a replica counts at all.
    func counts(isNear: Bool) -> Bool { !isLocal || isNear }

    mutating func add(dataCenter: String, isNear: Bool) {
        guard counts(isNear: isNear) else { return }
        total += 1
        received[isByDataCenter ? dataCenter : "", default: 0] += 1
    }

    var isMet: Bool { needed.allSatisfy { received[$0.key, default: 0] >= $0.value } }

    /// Whether these further answers, by data center, would be enough.
    func couldBeMet(with more: [(dataCenter: String, isNear: Bool)]) -> Bool {
        var copy = self
        for one in more { copy.add(dataCenter: one.dataCenter, isNear: one.isNear) }
        return copy.isMet
    }

    /// Whether `later`, with one answer more, is nearer to the level than this.
    func gains(from later: AnswerCount) -> Bool {
        needed.contains { later.received[$0.key, default: 0] > received[$0.key, default: 0] && received[$0.key, default: 0] < $0.value }
    }
}
