import Platform

/// Keeps what a node sends and fetches while data moves below a number of bytes a second.
struct StreamThrottle: Sendable {
    /// 0: no limit.
    let bytesPerSecond: Int
    let time: any TimeSource
    let background: any Background

    /// Lets the calling thread wait until so many bytes may have moved since a time; five seconds at most.
    /// - Parameter began: monotonic microseconds.
    func wait(for bytes: Int, since began: Int64) {
        guard bytesPerSecond > 0 else { return }
        let due = Int64(Double(bytes) / Double(bytesPerSecond) * 1_000_000)
        let ahead = due - (time.monotonicMicroseconds() - began)
        if ahead > 1000 { background.sleep(nanoseconds: UInt64(min(ahead, 5_000_000)) * 1000) }
    }
}
