import Glibc
import Primitives

/// Orders replicas for reading: near ones first, and slow ones after fast ones.
///
/// 1. The order of distance: this node, its rack, its data center, the others; equals as the ring has them.
/// 2. A replica's score is the mean of its read latencies, each weighing half as much as one `halfLife` later (an exponentially
///    weighted moving average), and nothing when none is known, so that it is tried.
/// 3. Within this data center, and within the others, the order of distance stays as long as no replica is slower by more than the
///    badness threshold than the one that would stand in its place by score; otherwise the order is that of the scores.
///
/// The threshold keeps caches warm: small differences do not send a row's readers back and forth. Cassandra's
/// `dynamic_snitch_badness_threshold` is 0.1, 1.0 since release 4.0.
public struct DynamicSnitch: Sendable {
    private struct Score {
        var mean: Double
        var at: Int64
    }

    public let local: UUID
    public let location: Location
    /// 0.1: a tenth slower is bad enough.
    public let badnessThreshold: Double
    /// Microseconds in which a latency loses half its weight.
    public let halfLife: Int64
    /// Microseconds after which a replica that was not asked has no score, so that one that recovered is tried again.
    public let forgetAfter: Int64
    private var scores: [UUID: Score] = [:]

    public init(
        local: UUID, location: Location, badnessThreshold: Double = 0.1, halfLife: Int64 = 10_000_000, forgetAfter: Int64 = 600_000_000
    ) {
        self.local = local
        self.location = location
        self.badnessThreshold = badnessThreshold
        self.halfLife = max(1, halfLife)
        self.forgetAfter = forgetAfter
    }

    /// Takes note of an answer that took `latency` microseconds; of none in time, with the timeout as latency.
    ///
    /// - Parameter now: monotonic microseconds.
    public mutating func record(_ replica: UUID, latency: Int64, now: Int64) {
        let sample = Double(max(0, latency))
        guard let old = scores[replica], now - old.at < forgetAfter else {
            scores[replica] = Score(mean: sample, at: now)
            return
        }
        // A sample weighs at least a sixteenth, or a burst at one instant would not count.
        let weight = max(1 - exp2(-Double(max(0, now - old.at)) / Double(halfLife)), 1.0 / 16)
        scores[replica] = Score(mean: old.mean + (sample - old.mean) * weight, at: max(now, old.at))
    }

    /// Mean latency in microseconds; nil when none is known, or none since `forgetAfter`.
    public func score(of replica: UUID, now: Int64) -> Double? {
        guard let score = scores[replica], now - score.at < forgetAfter else { return nil }
        return score.mean
    }

    /// Forgets a node that is no longer in the ring.
    public mutating func forget(_ replica: UUID) { scores[replica] = nil }

    /// Sorts indexes of a ring's nodes, best to ask first.
    public func sort(_ replicas: inout [Int32], in ring: Ring, now: Int64) {
        replicas.insertionSort { distance(ring.nodes[Int($0)]) < distance(ring.nodes[Int($1)]) }
        let boundary = replicas.firstIndex { distance(ring.nodes[Int($0)]) == 3 } ?? replicas.count
        sortByScore(&replicas, 0..<boundary, ring, now)
        sortByScore(&replicas, boundary..<replicas.count, ring, now)
    }

    private func distance(_ node: RingNode) -> Int {
        if node.id == local { return 0 }
        if node.location.dataCenter != location.dataCenter { return 3 }
        return node.location.rack == location.rack ? 1 : 2
    }

    private func sortByScore(_ replicas: inout [Int32], _ part: Range<Int>, _ ring: Ring, _ now: Int64) {
        guard part.count > 1 else { return }
        var byScore = replicas
        let score = { (index: Int32) in self.score(of: ring.nodes[Int(index)].id, now: now) ?? 0 }
        byScore.insertionSort(part) { score($0) < score($1) }
        for position in part where score(replicas[position]) > score(byScore[position]) * (1 + badnessThreshold) {
            replicas = byScore
            return
        }
    }
}

extension Array {
    /// Sorts a part in place and keeps the order of equals; for a handful of elements.
    mutating func insertionSort(_ part: Range<Int>? = nil, by precedes: (Element, Element) -> Bool) {
        let part = part ?? indices
        for index in part.dropFirst() {
            var place = index
            while place > part.lowerBound && precedes(self[place], self[place - 1]) {
                swapAt(place, place - 1)
                place -= 1
            }
        }
    }
}
