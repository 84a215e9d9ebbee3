import Platform

extension TimeSource {
    /// Microseconds of the clock that only goes forward.
    func monotonicMicroseconds() -> Int64 { Int64(monotonicNanoseconds() / 1000) }
}

extension Duration {
    /// Whole microseconds, at least 0.
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return max(0, seconds) * 1_000_000 + max(0, attoseconds) / 1_000_000_000_000
    }
}
