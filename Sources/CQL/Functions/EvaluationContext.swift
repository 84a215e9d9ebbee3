import DataModel
import Primitives

/// What functions like `now()` draw on. Its time is set at the beginning of each request.
public struct EvaluationContext {
    /// Wall-clock microseconds since 1970 of the request.
    public private(set) var nowMicroseconds: Int64
    /// Which statement of a batch is evaluated: each has values of `now()` and `uuid()` of its own.
    public var statement = 0
    private let identifiers: IdentifierSource
    /// Values of functions that are called once a request.
    private var generated: [(statement: Int, call: Int, value: [UInt8])] = []

    public init(nowMicroseconds: Int64 = 0, identifiers: IdentifierSource = IdentifierSource()) {
        self.nowMicroseconds = nowMicroseconds
        self.identifiers = identifiers
    }

    /// Begins a request: forgets the values of the one before.
    public mutating func begin(nowMicroseconds: Int64) {
        self.nowMicroseconds = nowMicroseconds
        statement = 0
        if !generated.isEmpty { generated.removeAll() }
    }

    /// A time-based identifier greater than all that the source gave before.
    public func nextTimeUUID() -> UUID { identifiers.nextTimeUUID(nowMicroseconds: nowMicroseconds) }

    /// A random identifier.
    public func randomUUID() -> UUID { identifiers.randomUUID() }

    /// The value of a function that gives another value at each call: the same throughout the request.
    /// - Parameter call: tells the calls of one statement apart.
    mutating func value(ofCall call: Int, _ function: ScalarFunction) throws(ServerError) -> [UInt8] {
        if let known = generated.first(where: { $0.call == call && $0.statement == statement }) { return known.value }
        let value = try function.call([], &self) ?? []
        generated.append((statement, call, value))
        return value
    }
}

/// Where identifiers come from: one for each loop, so that those of a loop are in order.
///
/// **Thread safety**: one thread.
public final class IdentifierSource {
    private var random: SeededRandom
    /// The low half of time-based identifiers; different for every loop of every node.
    private let clockSequenceAndNode: UInt64
    private var lastTicks: UInt64 = 0

    public init(seed: UInt64 = 0, clockSequenceAndNode: UInt64 = 0) {
        random = SeededRandom(seed: seed)
        self.clockSequenceAndNode = clockSequenceAndNode
    }

    /// Returns a time-based UUID greater than all that this context returned before.
    func nextTimeUUID(nowMicroseconds: Int64) -> UUID {
        let ticks = UUID.unixEpochTicks &+ UInt64(bitPattern: nowMicroseconds) &* 10
        lastTicks = max(ticks, lastTicks &+ 1)
        return UUID.timeBased(ticks: lastTicks, clockSequenceAndNode: clockSequenceAndNode)
    }

    /// Returns a random UUID.
    func randomUUID() -> UUID { UUID.random(using: &random) }
}
