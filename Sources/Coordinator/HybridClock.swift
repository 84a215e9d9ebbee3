import Glibc
import Synchronization

/// The clock of write timestamps: microseconds since 1970, greater at every call, close to the wall clock.
///
/// A hybrid logical clock (Kulkarni et al. 2014) in one integer: where the wall clock stands still or steps back, the last timestamp
/// plus one is given instead. `observe` takes over a timestamp seen elsewhere, unless it is too far ahead to be believed.
///
/// **Thread safety**: any thread; one atomic operation a call.
public final class HybridClock: Sendable {
    private let last = Atomic<Int64>(0)
    private let wallClock: @Sendable () -> Int64
    /// How far ahead of the wall clock a timestamp from elsewhere may be and still be followed, in microseconds.
    public let maximumSkewMicroseconds: Int64

    /// - Parameter wallClock: microseconds since 1970; replaced by tests and simulations.
    public init(
        maximumSkewMicroseconds: Int64 = 500_000, wallClock: @escaping @Sendable () -> Int64 = HybridClock.systemMicroseconds
    ) {
        self.maximumSkewMicroseconds = maximumSkewMicroseconds
        self.wallClock = wallClock
    }

    /// A timestamp greater than all given before.
    @inline(__always) public func next() -> Int64 {
        let now = wallClock()
        var seen = last.load(ordering: .relaxed)
        while true {
            let candidate = max(now, seen &+ 1)
            let (exchanged, original) = last.compareExchange(expected: seen, desired: candidate, ordering: .acquiringAndReleasing)
            if exchanged { return candidate }
            seen = original
        }
    }

    /// The wall clock, which may repeat itself.
    public var nowMicroseconds: Int64 { wallClock() }

    /// Follows a timestamp from elsewhere.
    /// - Returns: false when it is too far ahead of the wall clock; then the clock stays as it was.
    @discardableResult public func observe(_ timestamp: Int64) -> Bool {
        let now = wallClock()
        guard timestamp <= now || timestamp - now <= maximumSkewMicroseconds else { return false }
        var seen = last.load(ordering: .relaxed)
        while timestamp > seen {
            let (exchanged, original) = last.compareExchange(expected: seen, desired: timestamp, ordering: .acquiringAndReleasing)
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
