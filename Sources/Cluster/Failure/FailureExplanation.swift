import Messages

/// Why the failure detector thinks what it thinks of a node.
public struct FailureExplanation: Hashable, Sendable, CustomStringConvertible {
    public let endpoint: Endpoint
    /// How suspicious the silence is now.
    public let phi: Double
    public let threshold: Double
    /// Mean interval between heart beats, in microseconds.
    public let meanInterval: Double
    /// The interval before the last heart beat, in microseconds.
    public let lastInterval: Int64
    /// Microseconds since the last heart beat.
    public let silence: Int64
    /// Intervals the mean is made of.
    public let samples: Int
    /// Whether verdicts are withheld because this process itself was not running for a while.
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
