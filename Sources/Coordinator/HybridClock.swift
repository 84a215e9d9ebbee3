import Glibc
import Synchronization

/// The clock for write timestamps: microseconds since 1970, strictly increasing, close to the wall clock.
///
/// A hybrid logical clock (Kulkarni et al. 2014) in one integer: when the wall clock stands still or steps back, it
/// returns the last timestamp plus one. `observe` adopts a timestamp from another node, unless it is too far ahead.
///
/// **Thread safety**: any thread; one atomic operation per call.
public final class HybridClock: Sendable {
    private let last = Atomic<Int64>(0)
    private let wallClock: @Sendable () -> Int64
    /// The most that an observed timestamp may be ahead of the wall clock, in microseconds.
    public let maximumSkewMicroseconds: Int64

    /// - Parameter wallClock: microseconds since 1970; tests and simulations replace it.
    public init(
        maximumSkewMicroseconds: Int64 = 500_000,
        wallClock: @escaping @Sendable () -> Int64 = HybridClock.systemMicroseconds
    ) {
        self.maximumSkewMicroseconds = maximumSkewMicroseconds
        self.wallClock = wallClock
    }

    /// Returns a timestamp greater than all earlier ones.
    @inline(__always) public func next() -> Int64 {
        let now = wallClock()
        var seen = last.load(ordering: .relaxed)
        while true {
            let candidate = max(now, seen &+ 1)
            let (exchanged, original) = last.compareExchange(
                expected: seen, desired: candidate, ordering: .acquiringAndReleasing)
            if exchanged { return candidate }
            seen = original
        }
    }

    /// The wall clock, which may return the same value twice.
    public var nowMicroseconds: Int64 { wallClock() }

    /// Advances the clock to a timestamp from another node.
    /// - Returns: false, with the clock unchanged, when the timestamp is too far ahead of the wall clock.
    @discardableResult public func observe(_ timestamp: Int64) -> Bool {
        let now = wallClock()
        guard timestamp <= now || timestamp - now <= maximumSkewMicroseconds else { return false }
        var seen = last.load(ordering: .relaxed)
        while timestamp > seen {
            let (exchanged, original) = last.compareExchange(
                expected: seen, desired: timestamp, ordering: .acquiringAndReleasing)
            if exchanged { break }
            seen = original
        }
        return true
    }

    /// `CLOCK_REALTIME` in microseconds.
    public static func systemMicroseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
