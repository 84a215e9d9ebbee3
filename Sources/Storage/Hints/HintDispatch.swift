import Primitives

/// Options of hint replay.
public struct HintDispatchOptions: Sendable {
    /// The rate limit for all targets together, in bytes per second, divided equally among the active sessions; 0 means
    /// no limit.
    public var bytesPerSecond = 1024 << 10
    /// The maximum number of hints sent to one node and not yet delivered.
    public var hintsInFlight = 128
    /// Once this many bytes are read for one node and not yet delivered, reading pauses.
    public var bytesInFlight = 4 << 20
    /// The target size of a batch, in bytes; a single larger hint is a batch of its own.
    public var batchBytes = 64 << 10
    /// The time after which a batch without an answer counts as failed, in microseconds.
    public var deliveryTimeout: Int64 = 10_000_000
    /// The pause after a failure, in microseconds; doubled after each further failure, up to `maximumBackoff`.
    public var initialBackoff: Int64 = 1_000_000
    public var maximumBackoff: Int64 = 60_000_000

    public init() {}
}

/// An input of hint replay.
public enum HintDispatchEvent: Sendable, Equatable {
    /// A node with waiting hints is up, or there are new hints for it: start replaying.
    case nodeUp(UUID)
    /// A node is down or was removed: end its session.
    case nodeDown(UUID)
    /// The result of a `read` effect; nil when there are no more hints.
    case read(UUID, session: UInt64, HintBatch?)
    case readFailed(UUID, session: UInt64)
    case delivered(UUID, batch: UInt64)
    case failed(UUID, batch: UInt64)
    /// The clock advanced. Must be sent at least ten times a second while `isActive`.
    case tick
}

/// An action for the caller. Execute them in the given order.
public enum HintDispatchEffect: Sendable, Equatable {
    /// Read the next hints: from a new `HintStore.reader(for:)` for a new session, else from the session's reader.
    /// Answer with `read` or `readFailed`.
    case read(UUID, session: UInt64, maxBytes: Int, maxHints: Int)
    /// Send these hints to the node; answer with `delivered` or `failed` and the batch number.
    case send(UUID, batch: UInt64, [Hint])
    /// Everything up to this position was delivered: call `HintReader.acknowledge`.
    case acknowledge(UUID, session: UInt64, HintPosition)
    /// All hints of the session's reader were delivered. There may be newer ones.
    case finished(UUID)
}

/// Decides when to send which hints to which node: a state machine without files, network or clock.
///
/// 1. A node that comes up starts a session. Its hints are read in batches and sent in order.
/// 2. Reading or sending a batch requires credit: the session's share of the rate, accumulated for at most a fifth of a
///    second. Sending subtracts the batch's bytes and may make the credit negative, so that a large mutation delays
///    later ones.
/// 3. At most `hintsInFlight` hints wait for an answer. Batches may be answered in any order; only a delivered prefix
///    without gaps is acknowledged.
/// 4. A batch that fails or times out is sent again after a pause, during which nothing is sent to that node. The pause
///    doubles with every consecutive failure; a delivery resets it. Delivering a hint twice is harmless.
/// 5. A node that goes down ends its session; the next session starts at the acknowledged position.
///
/// The same events at the same times give the same effects. Times are microseconds of a monotonic clock.
public struct HintDispatch: Sendable {
    struct Batch: Sendable {
        var number: UInt64
        var hints: [Hint]
        var count: Int
        var byteCount: Int
        var end: HintPosition
        var sentAt: Int64?
        var isDelivered = false
    }

    struct Session: Sendable {
        var number: UInt64
        /// What may be sent, in millionths of a byte; negative after overspending.
        var credit: Int64
        /// In order; the first one is not delivered yet.
        var batches: [Batch] = []
        var isReading = false
        /// Whether the reader has no more hints.
        var isExhausted = false
        var restsUntil = Int64.min
        var rest: Int64 = 0

        var inFlight: Int { batches.reduce(0) { $0 + ($1.sentAt != nil && !$1.isDelivered ? $1.count : 0) } }
        /// Bytes of undelivered batches, sent or not.
        var heldBytes: Int { batches.reduce(0) { $0 + ($1.isDelivered ? 0 : $1.byteCount) } }
        var hasUnsent: Bool { batches.contains { $0.sentAt == nil && !$0.isDelivered } }
    }

    /// Credit accumulates for at most this many microseconds.
    static let burst: Int64 = 200_000

    public let options: HintDispatchOptions
    private var sessions: [UUID: Session] = [:]
    private var lastSession: UInt64 = 0
    private var lastBatch: UInt64 = 0
    private var refilledAt = Int64.min
    private var effects: [HintDispatchEffect] = []

    public init(options: HintDispatchOptions = HintDispatchOptions()) {
        precondition(
            options.hintsInFlight > 0 && options.bytesPerSecond >= 0 && options.batchBytes > 0,
            "invalid hint replay limits")
        self.options = options
    }

    /// Whether any session is active.
    public var isActive: Bool { !sessions.isEmpty }

    /// The nodes being replayed to, sorted by id.
    public var targets: [UUID] { sessions.keys.sorted() }

    /// The number of hints sent to a node and not yet delivered.
    public func inFlight(to target: UUID) -> Int { sessions[target]?.inFlight ?? 0 }

    /// Processes an event.
    /// - Parameter now: monotonic microseconds; not less than in the call before.
    /// - Returns: the effects to execute.
    public mutating func handle(_ event: HintDispatchEvent, now: Int64) -> [HintDispatchEffect] {
        refill(now)
        switch event {
        case .nodeUp(let target): begin(target)
        case .nodeDown(let target): sessions[target] = nil
        case .read(let target, let session, let batch): take(batch, target, session)
        case .readFailed(let target, let session):
            if sessions[target]?.number == session {
                sessions[target]?.isReading = false
                rest(target, now)
            }
        case .delivered(let target, let batch): deliver(target, batch)
        case .failed(let target, let batch): fail(target, batch, now)
        case .tick: expire(now)
        }
        // Advance all sessions: when one ends, the others get its share of the rate.
        for target in sessions.keys.sorted() { advance(target, now) }
        defer { effects = [] }
        return effects
    }

    private var burstCredit: Int64 {
        max(1, Int64(options.bytesPerSecond) * HintDispatch.burst / Int64(max(1, sessions.count)))
    }

    private mutating func refill(_ now: Int64) {
        let elapsed = refilledAt == .min ? 0 : min(max(0, now - refilledAt), 60_000_000)
        refilledAt = max(refilledAt, now)
        guard elapsed > 0 else { return }
        let share = Int64(options.bytesPerSecond) * elapsed / Int64(max(1, sessions.count))
        let most = burstCredit
        for (target, session) in sessions { sessions[target]?.credit = min(most, session.credit + share) }
    }

    private mutating func begin(_ target: UUID) {
        guard sessions[target] == nil else { return }
        lastSession += 1
        // Start without credit, so that a flapping node does not get a burst each time.
        sessions[target] = Session(number: lastSession, credit: options.bytesPerSecond == 0 ? 1 : 0)
    }

    private mutating func take(_ batch: HintBatch?, _ target: UUID, _ session: UInt64) {
        guard sessions[target]?.number == session, sessions[target]?.isReading == true else { return }
        sessions[target]?.isReading = false
        guard let batch else {
            sessions[target]?.isExhausted = true
            return
        }
        lastBatch += 1
        sessions[target]?.batches.append(
            Batch(
                number: lastBatch, hints: batch.hints, count: batch.hints.count, byteCount: batch.byteCount,
                end: batch.end))
    }

    private mutating func deliver(_ target: UUID, _ number: UInt64) {
        guard var session = sessions[target], let index = session.batches.firstIndex(where: { $0.number == number })
        else { return }
        session.batches[index].isDelivered = true
        session.batches[index].hints = []
        session.rest = 0
        let done = session.batches.prefix { $0.isDelivered }
        if let last = done.last { effects.append(.acknowledge(target, session: session.number, last.end)) }
        session.batches.removeFirst(done.count)
        sessions[target] = session
    }

    private mutating func fail(_ target: UUID, _ number: UInt64, _ now: Int64) {
        guard
            let index = sessions[target]?.batches.firstIndex(where: {
                $0.number == number && $0.sentAt != nil && !$0.isDelivered
            })
        else { return }
        sessions[target]?.batches[index].sentAt = nil
        rest(target, now)
    }

    private mutating func expire(_ now: Int64) {
        for target in sessions.keys.sorted() {
            for batch in sessions[target]?.batches ?? [] {
                if let sentAt = batch.sentAt, now - sentAt >= options.deliveryTimeout {
                    fail(target, batch.number, now)
                }
            }
        }
    }

    /// Pauses sending to a node. A failure during a pause is of an earlier batch and does not extend it.
    private mutating func rest(_ target: UUID, _ now: Int64) {
        guard var session = sessions[target], now >= session.restsUntil else { return }
        session.rest = session.rest == 0 ? options.initialBackoff : min(session.rest * 2, options.maximumBackoff)
        session.restsUntil = now + session.rest
        sessions[target] = session
    }

    /// Sends and reads what the limits allow, and ends a session that has nothing left.
    private mutating func advance(_ target: UUID, _ now: Int64) {
        guard var session = sessions[target] else { return }
        if session.isExhausted && session.batches.isEmpty {
            sessions[target] = nil
            effects.append(.finished(target))
            return
        }
        guard now >= session.restsUntil else { return }
        var inFlight = session.inFlight
        for index in session.batches.indices
        where session.batches[index].sentAt == nil && !session.batches[index].isDelivered {
            let batch = session.batches[index]
            guard session.credit > 0, inFlight == 0 || inFlight + batch.count <= options.hintsInFlight else { break }
            session.batches[index].sentAt = now
            if options.bytesPerSecond > 0 { session.credit -= Int64(batch.byteCount) * 1_000_000 }
            inFlight += batch.count
            effects.append(.send(target, batch: batch.number, batch.hints))
        }
        // Limit the batches held: while one stays unanswered, delivered batches behind it cannot be dropped.
        let mayRead =
            !session.isReading && !session.isExhausted && !session.hasUnsent && session.credit > 0
            && inFlight < options.hintsInFlight
            && session.batches.count < options.hintsInFlight && session.heldBytes < options.bytesInFlight
        if mayRead {
            session.isReading = true
            effects.append(
                .read(
                    target, session: session.number, maxBytes: options.batchBytes,
                    maxHints: options.hintsInFlight - inFlight))
        }
        sessions[target] = session
    }
}
