import Glibc
import Messages

/// Suspects nodes by how unlikely their silence is.
///
/// phi is the negative decimal logarithm of the probability that the next heartbeat arrives even later than now.
/// Intervals are taken as exponentially distributed, as in Cassandra, so phi = silence / (mean interval * ln 10): with
/// a threshold of 8 and a mean of one second, a node is convicted after 18.4 seconds.
///
/// Two guards against false verdicts. Intervals longer than `longestInterval` do not enter the mean, so an outage does
/// not slow the next conviction. And when this process did not run for `pauseLimit`, which looks as if all other nodes
/// had fallen silent, no node is convicted until the process has run for `pauseLimit` again.
///
/// Source: Hayashibara, Defago, Yared and Katayama, "The phi Accrual Failure Detector" (2004).
public struct PhiAccrualDetector: Sendable {
    public struct Configuration: Hashable, Sendable {
        /// `phi_convict_threshold`.
        public var threshold = 8.0
        /// The number of intervals in the mean.
        public var samples = 1_000
        /// The interval assumed before the second heartbeat, in microseconds.
        public var initialInterval: Int64 = 2_000_000
        /// Longer intervals do not enter the mean. Microseconds.
        public var longestInterval: Int64 = 2_000_000
        /// If two ticks are further apart, this process was paused. Microseconds.
        public var pauseLimit: Int64 = 5_000_000

        public init() {}
    }

    public let configuration: Configuration
    /// Only looked up, never iterated: the order of iteration is not deterministic.
    private var windows: [Endpoint: ArrivalWindow] = [:]
    private var lastTick: Int64?
    private var pausedAt: Int64?

    public init(configuration: Configuration = Configuration()) { self.configuration = configuration }

    /// Tells the detector that this process is running. Call it about once a second, before judging nodes.
    ///
    /// - Parameter now: monotonic microseconds.
    /// - Returns: how many microseconds the process was paused, if longer than `pauseLimit`; else nil.
    public mutating func tick(now: Int64) -> Int64? {
        defer { lastTick = now }
        guard let lastTick, now - lastTick > configuration.pauseLimit else { return nil }
        pausedAt = now
        return now - lastTick
    }

    /// Records a heartbeat. - Parameter now: monotonic microseconds.
    public mutating func report(_ endpoint: Endpoint, now: Int64) {
        if windows[endpoint] == nil {
            windows[endpoint] = ArrivalWindow(arrival: now, first: configuration.initialInterval)
        } else {
            windows[endpoint]!.add(
                arrival: now, capacity: configuration.samples, longest: configuration.longestInterval)  // exists
        }
    }

    /// Starts waiting for a node's heartbeats as if one had arrived now, without adding an interval to the mean.
    public mutating func expect(_ endpoint: Endpoint, now: Int64) {
        // Exists.
        if windows[endpoint] == nil { report(endpoint, now: now) } else { windows[endpoint]!.resume(at: now) }
    }

    /// Forgets a node.
    public mutating func forget(_ endpoint: Endpoint) { windows[endpoint] = nil }

    /// Returns the suspicion level of a node; 0 for an unknown one.
    public func phi(_ endpoint: Endpoint, now: Int64) -> Double {
        guard let window = windows[endpoint] else { return 0 }
        return PhiAccrualDetector.phi(silence: now - window.lastArrival, mean: window.mean)
    }

    private static func phi(silence: Int64, mean: Double) -> Double {
        Double(max(0, silence)) / max(1, mean) / log(10.0)
    }

    /// Returns whether the node counts as failed now.
    public func convicts(_ endpoint: Endpoint, now: Int64) -> Bool {
        !isPaused(now: now) && phi(endpoint, now: now) > configuration.threshold
    }

    /// Returns whether no node is convicted: this process was paused recently, or has not ticked for longer than
    /// `pauseLimit`.
    public func isPaused(now: Int64) -> Bool {
        if let lastTick, now - lastTick > configuration.pauseLimit { return true }
        guard let pausedAt else { return false }
        return now - pausedAt < configuration.pauseLimit
    }

    /// Returns nil for an unknown node.
    public func explain(_ endpoint: Endpoint, now: Int64) -> FailureExplanation? {
        guard let window = windows[endpoint] else { return nil }
        return FailureExplanation(
            endpoint: endpoint, phi: phi(endpoint, now: now), threshold: configuration.threshold,
            meanInterval: window.mean,
            lastInterval: window.lastInterval, silence: max(0, now - window.lastArrival), samples: window.count,
            pausedLocally: isPaused(now: now))
    }
}
