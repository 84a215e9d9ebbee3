import Glibc
import Primitives

/// Remembers how fast the nodes answer reads: what `ReplicaOrder` knows as scores.
///
/// A node's score is the mean of its latencies, each weighing half as much as one `halfLife` later (an exponentially weighted moving
/// average), and nothing when none is known.
public struct DynamicSnitch: Sendable {
    private struct Score {
        var mean: Double
        var at: Int64
    }

    /// Microseconds in which a latency loses half its weight.
    public let halfLife: Int64
    /// Microseconds after which a replica that was not asked has no score, so that one that recovered is tried again.
    public let forgetAfter: Int64
    private var scores: [UUID: Score] = [:]

    public init(halfLife: Int64 = 10_000_000, forgetAfter: Int64 = 600_000_000) {
        self.halfLife = max(1, halfLife)
        self.forgetAfter = forgetAfter
    }

    /// Takes note of answers that took `latency` microseconds in the mean.
    ///
    /// - Parameters:
    ///   - count: how many they were, since the last were taken note of.
    ///   - now: monotonic microseconds.
    public mutating func record(_ replica: UUID, latency: Int64, count: Int = 1, now: Int64) {
        let sample = Double(max(1, latency))
        guard let old = scores[replica], now - old.at < forgetAfter else {
            scores[replica] = Score(mean: sample, at: now)
            return
        }
        // Each weighs at least a sixteenth, or a burst at one instant would not count; all together not so much that the past would not.
        let byNumber = 1 - pow(15.0 / 16, Double(min(max(1, count), 16)))
        let weight = max(1 - exp2(-Double(max(0, now - old.at)) / Double(halfLife)), byNumber)
        scores[replica] = Score(mean: old.mean + (sample - old.mean) * weight, at: max(now, old.at))
    }

    /// Mean latency in microseconds; nil when none is known, or none since `forgetAfter`.
    public func score(of replica: UUID, now: Int64) -> Double? {
        guard let score = scores[replica], now - score.at < forgetAfter else { return nil }
        return score.mean
    }

    /// Of each node of a ring, by index; 0 when none is known.
    public func scores(of ring: Ring, now: Int64) -> [Double] { ring.nodes.map { score(of: $0.id, now: now) ?? 0 } }

    /// Forgets a node that is no longer in the ring, or begins anew.
    public mutating func forget(_ replica: UUID) { scores[replica] = nil }
}
