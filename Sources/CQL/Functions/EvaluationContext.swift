import DataModel
import Primitives

/// What functions like `now()` draw on. One for each loop, its time set at the beginning of each request.
public struct EvaluationContext {
    /// Wall-clock microseconds since 1970 of the request.
    public var nowMicroseconds: Int64
    public var random: SeededRandom
    /// Low half of time-based identifiers; different for every loop of every node.
    public let clockSequenceAndNode: UInt64
    private var lastTicks: UInt64 = 0

    public init(nowMicroseconds: Int64, random: SeededRandom, clockSequenceAndNode: UInt64) {
        self.nowMicroseconds = nowMicroseconds
        self.random = random
        self.clockSequenceAndNode = clockSequenceAndNode
    }

    /// A time-based identifier greater than all this context gave before.
    public mutating func nextTimeUUID() -> UUID {
        let ticks = UUID.unixEpochTicks &+ UInt64(bitPattern: nowMicroseconds) &* 10
        lastTicks = max(ticks, lastTicks &+ 1)
        return UUID.timeBased(ticks: lastTicks, clockSequenceAndNode: clockSequenceAndNode)
    }

    /// A random identifier.
    public mutating func randomUUID() -> UUID { UUID.random(using: &random) }
}
