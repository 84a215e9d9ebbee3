/// A histogram of durations whose buckets grow with the duration: exact below 128 ns, within 0.8% above (like
/// HdrHistogram).
///
/// **Thread safety**: one owner.
struct LatencyHistogram: Sendable {
    private static let subBits = 7
    private static let subCount = 1 << subBits
    /// Durations of 2^43 ns (over two hours) and more count in the last bucket.
    private static let maxExponent = 43

    private var counts = [Int](repeating: 0, count: (maxExponent - subBits + 1) * subCount)
    private(set) var total = 0
    private var sum: Double = 0
    private(set) var max: Int64 = 0

    private static func bucket(_ nanoseconds: Int64) -> Int {
        let value = Swift.min(Swift.max(0, nanoseconds), (1 << Int64(maxExponent)) - 1)
        if value < subCount { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount - subBits
        return (exponent + 1) * subCount + Int(value >> Int64(exponent)) - subCount
    }

    /// Returns the greatest duration that counts in `bucket`.
    private static func upperBound(_ bucket: Int) -> Int64 {
        if bucket < subCount { return Int64(bucket) }
        let exponent = bucket / subCount - 1
        let sub = bucket % subCount + subCount
        return (Int64(sub + 1) << Int64(exponent)) - 1
    }

    mutating func record(_ nanoseconds: Int64) {
        counts[LatencyHistogram.bucket(nanoseconds)] += 1
        total += 1
        sum += Double(nanoseconds)
        if nanoseconds > max { max = nanoseconds }
    }

    mutating func add(_ other: LatencyHistogram) {
        for index in counts.indices { counts[index] += other.counts[index] }
        total += other.total
        sum += other.sum
        max = Swift.max(max, other.max)
    }

    var mean: Double { total == 0 ? 0 : sum / Double(total) }

    /// Returns the duration that the fraction `quantile` of all durations does not exceed, in nanoseconds.
    func percentile(_ quantile: Double) -> Int64 {
        guard total > 0 else { return 0 }
        let wanted = Swift.max(1, Int((Double(total) * quantile).rounded(.up)))
        var seen = 0
        for (index, count) in counts.enumerated() where count > 0 {
            seen += count
            if seen >= wanted { return Swift.min(LatencyHistogram.upperBound(index), max) }
        }
        return max
    }
}
