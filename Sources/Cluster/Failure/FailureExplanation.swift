import Messages

/// The failure detector's verdict on a node, with the numbers behind it.
public struct FailureExplanation: Hashable, Sendable, CustomStringConvertible {
    public let endpoint: Endpoint
    /// The current suspicion level.
    public let phi: Double
    public let threshold: Double
    /// The mean interval between heartbeats, in microseconds.
    public let meanInterval: Double
    /// The interval before the last heartbeat, in microseconds.
    public let lastInterval: Int64
    /// Microseconds since the last heartbeat.
    public let silence: Int64
    /// The number of intervals in the mean.
    public let samples: Int
    /// Whether no node is convicted now because this process was paused.
    public let pausedLocally: Bool

    /// Whether the node counts as failed.
    public var convicted: Bool { phi > threshold && !pausedLocally }

    public var description: String {
        let seconds = { (micros: Double) in RingSimulationRow.decimal(micros / 1_000_000, 3) }
        let numbers =
            "phi \(RingSimulationRow.decimal(phi, 2)) of \(RingSimulationRow.decimal(threshold, 2)): silent for \(seconds(Double(silence))) s, "
            + "mean interval \(seconds(meanInterval)) s of \(samples) samples, last interval \(seconds(Double(lastInterval))) s"
        if pausedLocally { return "\(endpoint): \(numbers); not judged, this process was paused" }
        return "\(endpoint): \(numbers); \(convicted ? "convicted" : "not convicted")"
    }
}
