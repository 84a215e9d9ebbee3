/// A source of time.
public protocol TimeSource: Sendable {
    /// The wall clock in microseconds since 1970; may jump.
    func wallMicroseconds() -> Int64
    /// A monotonic clock in nanoseconds.
    func monotonicNanoseconds() -> UInt64
}

extension TimeSource {
    /// Seconds since 1970, the unit of TTLs and local deletion times.
    public func wallSeconds() -> UInt32 { UInt32(clamping: wallMicroseconds() / 1_000_000) }
}

/// A clock that a test sets.
public final class ManualTime: TimeSource {
    private let state: Mutex<Int64>

    public init(microseconds: Int64 = 1_700_000_000_000_000) { state = Mutex(microseconds) }

    public func wallMicroseconds() -> Int64 { state.withLock { $0 } }
    public func monotonicNanoseconds() -> UInt64 { UInt64(state.withLock { $0 }) * 1000 }
    public func advance(microseconds: Int64) { state.withLock { $0 += microseconds } }
}

import Synchronization
