import Glibc
import Primitives

/// Tracks the read latency of each node. `ReplicaOrder` uses the values as scores.
///
/// A node's score is an exponentially weighted moving average of its latencies: a latency loses half its weight per
/// `halfLife`. A node without a known latency has no score.
public struct DynamicSnitch: Sendable {
    private struct Score {
        var mean: Double
        var at: Int64
    }

    /// The time in which a latency loses half its weight, in microseconds.
    public let halfLife: Int64
    /// After this time without a new latency a node loses its score, so that a recovered node is tried again.
    /// Microseconds.
    public let forgetAfter: Int64
    private var scores: [UUID: Score] = [:]

    public init(halfLife: Int64 = 10_000_000, forgetAfter: Int64 = 600_000_000) {
        self.halfLife = max(1, halfLife)
        self.forgetAfter = forgetAfter
    }

    /// Records answers with a mean latency of `latency` microseconds.
    ///
    /// - Parameters:
    ///   - count: the number of answers since the last call.
    ///   - now: monotonic microseconds.
    public mutating func record(_ replica: UUID, latency: Int64, count: Int = 1, now: Int64) {
        let sample = Double(max(1, latency))
        guard let old = scores[replica], now - old.at < forgetAfter else {
            scores[replica] = Score(mean: sample, at: now)
            return
        }
        // Each answer weighs at least 1/16, else a burst at one instant would not count. The cap of 16 answers keeps
        // some of the past.
        let byNumber = 1 - pow(15.0 / 16, Double(min(max(1, count), 16)))
        let weight = max(1 - exp2(-Double(max(0, now - old.at)) / Double(halfLife)), byNumber)
        scores[replica] = Score(mean: old.mean + (sample - old.mean) * weight, at: max(now, old.at))
    }

    /// Returns the mean latency in microseconds; nil when none is known, or none within `forgetAfter`.
    public func score(of replica: UUID, now: Int64) -> Double? {
        guard let score = scores[replica], now - score.at < forgetAfter else { return nil }
        return score.mean
    }

    /// Returns the score of each node of a ring, by index; 0 when none is known.
    public func scores(of ring: Ring, now: Int64) -> [Double] { ring.nodes.map { score(of: $0.id, now: now) ?? 0 } }

    /// Forgets a node that left the ring or restarted.
    public mutating func forget(_ replica: UUID) { scores[replica] = nil }
}
