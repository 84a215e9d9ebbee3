import Primitives

/// How long a node took to answer reads, of late.
public struct ReadLatency: Sendable, Equatable {
    public let node: UUID
    /// Microseconds, the mean.
    public let mean: Int64
    public let count: Int
}

/// Latencies that one loop has measured and not told yet: two additions an answer, into arrays by the nodes' indexes.
struct ReadLatencies {
    private var epoch: UInt64 = 0
    private var sums: [Int64] = []
    private var counts: [Int] = []
    private var toldAt = Int64.min / 2

    mutating func add(_ latency: Int64, of node: Int, in cluster: ClusterView) {
        if cluster.epoch != epoch || sums.count != cluster.ring.nodes.count {
            // Other members: the indexes mean others.
            if cluster.epoch < epoch { return }
            epoch = cluster.epoch
            sums = [Int64](repeating: 0, count: cluster.ring.nodes.count)
            counts = [Int](repeating: 0, count: cluster.ring.nodes.count)
        }
        sums[node] += max(1, latency)
        counts[node] += 1
    }

    /// What was measured since the last time, once an interval; nil in between.
    mutating func take(every interval: Int64, in cluster: ClusterView, now: Int64) -> [ReadLatency]? {
        guard now - toldAt >= interval, cluster.epoch == epoch else { return nil }
        toldAt = now
        var result: [ReadLatency] = []
        for node in counts.indices where counts[node] > 0 {
            result.append(ReadLatency(node: cluster.ring.nodes[node].id, mean: sums[node] / Int64(counts[node]), count: counts[node]))
            sums[node] = 0
            counts[node] = 0
        }
        return result.isEmpty ? nil : result
    }
}
