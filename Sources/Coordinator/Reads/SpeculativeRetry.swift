/// When a read asks one more replica because another is silent: the table option `speculative_retry`.
public indirect enum SpeculativeRetry: Sendable, Equatable {
    case never
    /// At once.
    case always
    /// Microseconds after the read began.
    case after(Int64)
    /// When the read exceeds this percentile of recent latencies.
    case percentile(Double)
    case least(SpeculativeRetry, SpeculativeRetry)
    case most(SpeculativeRetry, SpeculativeRetry)

    /// - Parameter option: the option as the schema stores it, already validated: `ALWAYS`, `NEVER`, `99p`, `50ms`,
    ///   `MIN(99p,50ms)`, `MAX(99p,50ms)`.
    public init(option: String) {
        let text = option.lowercased().filter { $0 != " " }
        for (name, make) in [("min(", SpeculativeRetry.least), ("max(", SpeculativeRetry.most)]
        where text.hasPrefix(name) {
            let parts = text.dropFirst(4).dropLast().split(separator: ",").map { SpeculativeRetry(option: String($0)) }
            self = parts.count == 2 ? make(parts[0], parts[1]) : .percentile(99)
            return
        }
        if text == "always" {
            self = .always
        } else if text == "never" || text == "none" {
            self = .never
        } else if text.hasSuffix("ms"), let milliseconds = Double(text.dropLast(2)) {
            self = .after(Int64(clamping: Int(min(milliseconds * 1000, 1e15))))
        } else {
            let number = text.hasSuffix("percentile") ? text.dropLast(10) : text.dropLast(1)
            self = .percentile(Double(number) ?? 99)
        }
    }

    /// The delay in microseconds; nil: never.
    /// - Parameter otherwise: the delay of a percentile while too few latencies are known.
    func delay(_ latencies: borrowing LatencyHistogram, otherwise: Int64) -> Int64? {
        switch self {
        case .never: nil
        case .always: 0
        case .after(let delay): delay
        case .percentile(let percent): latencies.percentile(percent) ?? otherwise
        case .least(let a, let b):
            min(a.delay(latencies, otherwise: otherwise) ?? .max, b.delay(latencies, otherwise: otherwise) ?? .max)
                .finite
        case .most(let a, let b):
            max(a.delay(latencies, otherwise: otherwise) ?? .max, b.delay(latencies, otherwise: otherwise) ?? .max)
                .finite
        }
    }
}

extension Int64 {
    fileprivate var finite: Int64? { self == .max ? nil : self }
}

/// A histogram of recent latencies, with eight buckets per power of two. Old latencies lose weight as new ones come.
struct LatencyHistogram: ~Copyable {
    private var counts = [UInt32](repeating: 0, count: 30 * 8)
    private var total: UInt32 = 0

    /// With fewer latencies there are no percentiles.
    static let fewest: UInt32 = 128
    /// At this total, all counts are halved.
    static let most: UInt32 = 8192

    private static func bucket(_ latency: Int64) -> Int {
        let value = UInt64(min(max(latency, 8), 1 << 29))
        let power = 63 - value.leadingZeroBitCount
        return (power - 3) * 8 + Int((value >> UInt64(power - 3)) & 7)
    }

    /// The smallest latency above the bucket.
    private static func limit(_ bucket: Int) -> Int64 { Int64(8 + bucket % 8 + 1) << Int64(bucket / 8) }

    /// - Parameter latency: microseconds.
    mutating func note(_ latency: Int64) {
        counts[LatencyHistogram.bucket(latency)] += 1
        total += 1
        guard total >= LatencyHistogram.most else { return }
        total = 0
        for index in counts.indices {
            counts[index] /= 2
            total += counts[index]
        }
    }

    /// The given percentile, rounded up to the limit of its bucket; nil when too few latencies are known.
    borrowing func percentile(_ percent: Double) -> Int64? {
        guard total >= LatencyHistogram.fewest else { return nil }
        let wanted = UInt32(min(Double(total), (Double(total) * percent / 100).rounded(.up)))
        var seen: UInt32 = 0
        for (bucket, count) in counts.enumerated() where count > 0 {
            seen += count
            if seen >= wanted { return LatencyHistogram.limit(bucket) }
        }
        return LatencyHistogram.limit(counts.count - 1)
    }
}

/// The latencies of one table's reads on one loop, and the speculative delay that follows from them.
final class TableLatencies {
    private let policy: SpeculativeRetry
    private var histogram = LatencyHistogram()
    private var notes = 0
    /// Microseconds after which a read asks one more replica; nil: never.
    private(set) var delay: Int64?
    private let otherwise: Int64

    init(_ policy: SpeculativeRetry, otherwise: Int64) {
        self.policy = policy
        self.otherwise = otherwise
        delay = policy.delay(histogram, otherwise: otherwise)
    }

    func note(_ latency: Int64) {
        histogram.note(latency)
        notes += 1
        if notes % 128 == 0 { delay = policy.delay(histogram, otherwise: otherwise) }
    }

    func follows(_ policy: SpeculativeRetry) -> Bool { policy == self.policy }
}
