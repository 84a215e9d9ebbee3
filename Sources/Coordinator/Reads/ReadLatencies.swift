import Primitives

/// The recent read latency of a node.
public struct ReadLatency: Sendable, Equatable {
    public let node: UUID
    /// The mean, in microseconds.
    public let mean: Int64
    public let count: Int
}

/// Latencies measured by one loop and not yet reported: two additions per answer, into arrays by node index.
struct ReadLatencies {
    private var epoch: UInt64 = 0
    private var sums: [Int64] = []
    private var counts: [Int] = []
    private var toldAt = Int64.min / 2

    mutating func add(_ latency: Int64, of node: Int, in cluster: ClusterView) {
        if cluster.epoch != epoch || sums.count != cluster.ring.nodes.count {
            // The members changed, so the indexes identify other nodes.
            if cluster.epoch < epoch { return }
            epoch = cluster.epoch
            sums = [Int64](repeating: 0, count: cluster.ring.nodes.count)
            counts = [Int](repeating: 0, count: cluster.ring.nodes.count)
        }
        sums[node] += max(1, latency)
        counts[node] += 1
    }

    /// Returns the latencies measured since the last report, once per interval; nil in between.
    mutating func take(every interval: Int64, in cluster: ClusterView, now: Int64) -> [ReadLatency]? {
        guard now - toldAt >= interval, cluster.epoch == epoch else { return nil }
        toldAt = now
        var result: [ReadLatency] = []
        for node in counts.indices where counts[node] > 0 {
            result.append(
                ReadLatency(
                    node: cluster.ring.nodes[node].id, mean: sums[node] / Int64(counts[node]), count: counts[node]))
            sums[node] = 0
            counts[node] = 0
        }
        return result.isEmpty ? nil : result
    }
}
