import Cluster
import DataModel

/// A node that keeps a write for a replica that is down.
struct StandIn: Equatable {
    let node: Int
    let replica: Int
}

extension ClusterView {
    /// Who keeps a write for the replicas of a token that are down, in a keyspace with a sloppy quorum (Dynamo, section 4.6).
    ///
    /// 1. The nodes that the walk on the ring meets after the token, which live, are here to stay and get the write neither now nor soon; each stands in for one
    ///    replica.
    /// 2. Where the keyspace or the level tells data centers apart, one of the replica's own; first those on racks where none of the replicas lives and
    ///    nobody stands in yet, as NetworkTopologyStrategy places replicas.
    /// 3. For a replica whose answer the level does not count nobody stands in.
    ///
    /// - Parameter replicas: natural and pending.
    func standIns(
        of token: Int64, natural: [Int], replicas: [Int], placement: TablePlacement, count: AnswerCount
    ) -> [StandIn] {
        var candidates = ring.walk(from: token).map { Int($0) }.filter { node in
            guard isAlive[node], !replicas.contains(node) else { return false }
            switch ring.nodes[node].state {
            case .normal, .moving: return true
            case .joining, .leaving, .left, .replacing: return false
            }
        }
        let staysInDataCenter = !placement.replication.dataCenters.isEmpty || !count.counts(isNear: false)
        var taken = replicas.filter { isAlive[$0] }.map { ring.nodes[$0].location }
        var result: [StandIn] = []
        for replica in natural where !isAlive[replica] && count.counts(isNear: isNear[replica]) {
            let able = candidates.filter { !staysInDataCenter || dataCenter($0) == dataCenter(replica) }
            guard let node = able.first(where: { !taken.contains(ring.nodes[$0].location) }) ?? able.first else { continue }
            candidates.removeAll { $0 == node }
            taken.append(ring.nodes[node].location)
            result.append(StandIn(node: node, replica: replica))
        }
        return result
    }
}
