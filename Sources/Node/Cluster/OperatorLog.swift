import Logging
import Platform
import Synchronization

/// The node's log, with a limit for conditions that may repeat many times a second.
///
/// **Thread safety**: all methods, from any thread.
final class OperatorLog: Sendable {
    private let logger: Logger
    private let time: any TimeSource
    /// When each text was written last, in monotonic microseconds.
    private let reported = Mutex<[String: Int64]>([:])

    /// The same text is written at most once in this many microseconds.
    private static let interval: Int64 = 60_000_000
    /// Texts remembered; all are forgotten beyond that.
    private static let limit = 1000

    init(_ logger: Logger, time: any TimeSource) {
        self.logger = logger
        self.time = time
    }

    /// Writes a line, every time.
    func info(_ text: String) { logger.info("\(text)") }

    /// Writes a warning, every time.
    func warn(_ text: String) { logger.warning("\(text)") }

    /// Writes a line, the same text at most once a minute.
    func report(_ text: String, level: Logger.Level = .warning) {
        let now = time.monotonicMicroseconds()
        let isNew = reported.withLock { reported in
            if let last = reported[text], now - last < OperatorLog.interval { return false }
            if reported.count > OperatorLog.limit { reported = [:] }
            reported[text] = now
            return true
        }
        if isNew { logger.log(level: level, "\(text)") }
    }
}
