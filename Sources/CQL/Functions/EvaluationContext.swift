import DataModel
import Primitives

/// Time and randomness for functions such as `now()`. One per event loop; its time is set at the start of each request.
public struct EvaluationContext {
    /// The wall-clock time of the request, in microseconds since 1970.
    public var nowMicroseconds: Int64
    public var random: SeededRandom
    /// The low half of time-based UUIDs; different for every event loop of every node.
    public let clockSequenceAndNode: UInt64
    private var lastTicks: UInt64 = 0

    public init(nowMicroseconds: Int64, random: SeededRandom, clockSequenceAndNode: UInt64) {
        self.nowMicroseconds = nowMicroseconds
        self.random = random
        self.clockSequenceAndNode = clockSequenceAndNode
    }

    /// Returns a time-based UUID greater than all that this context returned before.
    public mutating func nextTimeUUID() -> UUID {
        let ticks = UUID.unixEpochTicks &+ UInt64(bitPattern: nowMicroseconds) &* 10
        lastTicks = max(ticks, lastTicks &+ 1)
        return UUID.timeBased(ticks: lastTicks, clockSequenceAndNode: clockSequenceAndNode)
    }

    /// Returns a random UUID.
    public mutating func randomUUID() -> UUID { UUID.random(using: &random) }
}
