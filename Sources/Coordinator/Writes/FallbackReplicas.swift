import Cluster
import DataModel

/// A fallback node: it stores a hint for a dead replica.
struct FallbackReplica: Equatable {
    let node: Int
    let replica: Int
}

extension ClusterView {
    /// Chooses the fallback nodes that store hints for the dead replicas of a token, in a keyspace with a sloppy quorum
    /// (Dynamo, section 4.6).
    ///
    /// 1. Candidates are the nodes next on the ring that are alive, permanent, and neither replicas nor pending
    ///    replicas of the token. Each stores hints for one replica.
    /// 2. If the keyspace or the level distinguishes data centers, the fallback node is in the replica's own. Racks
    ///    without a live replica or another fallback node come first, as NetworkTopologyStrategy places replicas.
    /// 3. A replica whose answer does not count for the level gets no fallback node.
    ///
    /// - Parameter replicas: natural and pending.
    func fallbackReplicas(
        of token: Int64, natural: [Int], replicas: [Int], placement: TablePlacement, count: ResponseTracker
    ) -> [FallbackReplica] {
        var candidates = ring.walk(from: token).map { Int($0) }.filter { node in
            isAlive[node] && !replicas.contains(node) && ring.nodes[node].state == .normal
        }
        let staysInDataCenter = !placement.replication.dataCenters.isEmpty || !count.counts(isNear: false)
        var taken = replicas.filter { isAlive[$0] }.map { ring.nodes[$0].location }
        var result: [FallbackReplica] = []
        for replica in natural where !isAlive[replica] && count.counts(isNear: isNear[replica]) {
            let able = candidates.filter { !staysInDataCenter || dataCenter($0) == dataCenter(replica) }
            guard let node = able.first(where: { !taken.contains(ring.nodes[$0].location) }) ?? able.first else {
                continue
            }
            candidates.removeAll { $0 == node }
            taken.append(ring.nodes[node].location)
            result.append(FallbackReplica(node: node, replica: replica))
        }
        return result
    }
}
