import Glibc
import Messages

/// Suspects nodes by how unlikely their silence is.
///
/// phi is the negative decimal logarithm of the probability that the next heart beat comes even later than now. With intervals taken
/// as exponentially distributed, as Cassandra takes them, phi = silence / (mean interval * ln 10): at the threshold of 8 and a mean
/// of one second a node is convicted after 18.4 seconds.
///
/// Two guards against false verdicts: intervals longer than `longestInterval` do not enter the mean, so that after an outage
/// suspicion is as quick as before; and when this process itself did not run for `pauseLimit`, which looks as if everybody else
/// had fallen silent, nobody is convicted until it has run for as long again.
///
/// Source: Hayashibara, Defago, Yared and Katayama, "The phi Accrual Failure Detector" (2004).
public struct PhiAccrualDetector: Sendable {
    public struct Configuration: Hashable, Sendable {
        /// `phi_convict_threshold`.
        public var threshold = 8.0
        /// Intervals the mean is made of.
        public var samples = 1_000
        /// Microseconds; the interval assumed before there is a second heart beat.
        public var initialInterval: Int64 = 2_000_000
        /// Microseconds; longer intervals do not enter the mean.
        public var longestInterval: Int64 = 2_000_000
        /// Microseconds between two ticks that mean this process was paused.
        public var pauseLimit: Int64 = 5_000_000

        public init() {}
    }

    public let configuration: Configuration
    /// Looked up, never iterated.
    private var windows: [Endpoint: ArrivalWindow] = [:]
    private var lastTick: Int64?
    private var pausedAt: Int64?

    public init(configuration: Configuration = Configuration()) { self.configuration = configuration }

    /// Tells the detector that this process is running; to be called before nodes are judged, once a second or so.
    ///
    /// - Parameter now: monotonic microseconds.
    /// - Returns: for how many microseconds the process was paused, when it was for longer than `pauseLimit`.
    public mutating func tick(now: Int64) -> Int64? {
        defer { lastTick = now }
        guard let lastTick, now - lastTick > configuration.pauseLimit else { return nil }
        pausedAt = now
        return now - lastTick
    }

    /// Takes note of a heart beat. - Parameter now: monotonic microseconds.
    public mutating func report(_ endpoint: Endpoint, now: Int64) {
        if windows[endpoint] == nil {
            windows[endpoint] = ArrivalWindow(arrival: now, first: configuration.initialInterval)
        } else {
            windows[endpoint]!.add(arrival: now, capacity: configuration.samples, longest: configuration.longestInterval)  // just found
        }
    }

    /// Begins to wait for a node's heart beats, as if one had come now, without it entering the mean.
    public mutating func expect(_ endpoint: Endpoint, now: Int64) {
        if windows[endpoint] == nil { report(endpoint, now: now) } else { windows[endpoint]!.resume(at: now) }  // just found
    }

    /// Forgets a node.
    public mutating func forget(_ endpoint: Endpoint) { windows[endpoint] = nil }

    /// How suspicious the node's silence is; 0 for one never heard of.
    public func phi(_ endpoint: Endpoint, now: Int64) -> Double {
        guard let window = windows[endpoint] else { return 0 }
        return PhiAccrualDetector.phi(silence: now - window.lastArrival, mean: window.mean)
    }

    private static func phi(silence: Int64, mean: Double) -> Double {
        Double(max(0, silence)) / max(1, mean) / log(10.0)
    }

    /// Whether the node counts as failed now.
    public func convicts(_ endpoint: Endpoint, now: Int64) -> Bool {
        !isPaused(now: now) && phi(endpoint, now: now) > configuration.threshold
    }

    /// Whether nobody is convicted because this process was paused shortly before, or has not ticked for so long that it is paused now.
    public func isPaused(now: Int64) -> Bool {
        if let lastTick, now - lastTick > configuration.pauseLimit { return true }
        guard let pausedAt else { return false }
        return now - pausedAt < configuration.pauseLimit
    }

    /// nil for a node never heard of.
    public func explain(_ endpoint: Endpoint, now: Int64) -> FailureExplanation? {
        guard let window = windows[endpoint] else { return nil }
        return FailureExplanation(
            endpoint: endpoint, phi: phi(endpoint, now: now), threshold: configuration.threshold, meanInterval: window.mean,
            lastInterval: window.lastInterval, silence: max(0, now - window.lastArrival), samples: window.count,
            pausedLocally: isPaused(now: now))
    }
}
