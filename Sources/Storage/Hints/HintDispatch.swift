import Primitives

/// How fast hints are sent, and how many wait for an answer.
public struct HintDispatchOptions: Sendable {
    /// For all nodes together: each that is being replayed to gets an equal share. 0 for no limit.
    public var bytesPerSecond = 1024 << 10
    /// Hints sent to one node and not delivered yet.
    public var hintsInFlight = 128
    /// Bytes read for one node and not delivered yet, beyond which no more are read.
    public var bytesInFlight = 4 << 20
    /// Bytes of a batch; a single hint may have more.
    public var batchBytes = 64 << 10
    /// Microseconds after which a batch without an answer counts as failed.
    public var deliveryTimeout: Int64 = 10_000_000
    /// Microseconds of rest after a failure; twice as many after each that follows, up to the last.
    public var firstRest: Int64 = 1_000_000
    public var lastRest: Int64 = 60_000_000

    public init() {}
}

/// What happened to a replay.
public enum HintDispatchEvent: Sendable, Equatable {
    /// A node for which hints wait is up, or there are new ones for it: they are to be sent.
    case nodeUp(UUID)
    /// A node is down, or was removed: what was sent to it is forgotten.
    case nodeDown(UUID)
    /// What a `read` gave; nil when there is no more.
    case read(UUID, session: UInt64, HintBatch?)
    case readFailed(UUID, session: UInt64)
    case delivered(UUID, batch: UInt64)
    case failed(UUID, batch: UInt64)
    /// Time goes by. To be told at least ten times a second while `isActive`.
    case tick
}

/// What a replay wants done, in this order.
public enum HintDispatchEffect: Sendable, Equatable {
    /// Read the next hints: from a new `HintStore.reader(for:)` when the session is new, else from that session's. The answer is `read` or `readFailed`.
    case read(UUID, session: UInt64, maxBytes: Int, maxHints: Int)
    /// Have the node apply these; the answer is `delivered` or `failed` with the number of the batch.
    case send(UUID, batch: UInt64, [Hint])
    /// All up to there arrived: `HintReader.acknowledge`.
    case acknowledge(UUID, session: UInt64, HintPosition)
    /// All that the session's reader had arrived; there may be newer hints.
    case finished(UUID)
}

/// Decides when which hints are sent to which node: a state machine without files, network or clock.
///
/// 1. A node that comes up begins a session. Its hints are read batch by batch, and sent in order.
/// 2. Before a batch is read or sent, the node must have credit: its share of the rate, of a fifth of a second at most. A batch takes its bytes
///    from it, below zero if need be, so that a large mutation is paid for later.
/// 3. At most `hintsInFlight` hints wait for an answer. Batches may be answered in any order; acknowledged is what was delivered without a hole.
/// 4. A batch that fails, or is not answered in time, is sent again after a rest, during which nothing is sent to that node. Rests grow with every failure
///    after one and begin anew with a delivery. Whatever arrives twice changes nothing.
/// 5. A node that goes down ends its session; the next begins at what was acknowledged.
///
/// The same events at the same times give the same effects. Times are microseconds of a clock that only goes forward.
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
        /// Millionths of bytes that may be sent; below zero after more was.
        var credit: Int64
        /// In order; the first was not delivered.
        var batches: [Batch] = []
        var isReading = false
        /// Whether the reader has no more.
        var isExhausted = false
        var restsUntil = Int64.min
        var rest: Int64 = 0

        var inFlight: Int { batches.reduce(0) { $0 + ($1.sentAt != nil && !$1.isDelivered ? $1.count : 0) } }
        /// Bytes held, sent or not.
        var heldBytes: Int { batches.reduce(0) { $0 + ($1.isDelivered ? 0 : $1.byteCount) } }
        var hasUnsent: Bool { batches.contains { $0.sentAt == nil && !$0.isDelivered } }
    }

    /// Credit is gathered for so many microseconds at most.
    static let burst: Int64 = 200_000

    public let options: HintDispatchOptions
    private var sessions: [UUID: Session] = [:]
    private var lastSession: UInt64 = 0
    private var lastBatch: UInt64 = 0
    private var refilledAt = Int64.min
    private var effects: [HintDispatchEffect] = []

    public init(options: HintDispatchOptions = HintDispatchOptions()) {
        precondition(options.hintsInFlight > 0 && options.bytesPerSecond >= 0 && options.batchBytes > 0, "limits of a replay")
        self.options = options
    }

    /// Whether anything is being replayed.
    public var isActive: Bool { !sessions.isEmpty }

    /// Nodes that are being replayed to, by id.
    public var targets: [UUID] { sessions.keys.sorted() }

    /// Hints sent to a node and not delivered yet.
    public func inFlight(to target: UUID) -> Int { sessions[target]?.inFlight ?? 0 }

    /// Takes an event.
    /// - Parameter now: monotonic microseconds; not below those of the event before.
    /// - Returns: what is to be done.
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
        // All of them: one that ended leaves its share to the others.
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
        // Nothing is given at once: nodes that flap would each time have a burst.
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
        guard var session = sessions[target], let index = session.batches.firstIndex(where: { $0.number == number }) else { return }
        session.batches[index].isDelivered = true
        session.batches[index].hints = []
        session.rest = 0
        let done = session.batches.prefix { $0.isDelivered }
        if let last = done.last { effects.append(.acknowledge(target, session: session.number, last.end)) }
        session.batches.removeFirst(done.count)
        sessions[target] = session
    }

    private mutating func fail(_ target: UUID, _ number: UInt64, _ now: Int64) {
        guard let index = sessions[target]?.batches.firstIndex(where: { $0.number == number && $0.sentAt != nil && !$0.isDelivered })
        else { return }
        sessions[target]?.batches[index].sentAt = nil
        rest(target, now)
    }

    private mutating func expire(_ now: Int64) {
        for target in sessions.keys.sorted() {
            for batch in sessions[target]?.batches ?? [] {
                if let sentAt = batch.sentAt, now - sentAt >= options.deliveryTimeout { fail(target, batch.number, now) }
            }
        }
    }

    /// Sends nothing to a node for a while. What fails during a rest was sent before it and makes it no longer.
    private mutating func rest(_ target: UUID, _ now: Int64) {
        guard var session = sessions[target], now >= session.restsUntil else { return }
        session.rest = session.rest == 0 ? options.firstRest : min(session.rest * 2, options.lastRest)
        session.restsUntil = now + session.rest
        sessions[target] = session
    }

    /// Sends and reads what may be, and ends a session that has nothing left.
    private mutating func advance(_ target: UUID, _ now: Int64) {
        guard var session = sessions[target] else { return }
        if session.isExhausted && session.batches.isEmpty {
            sessions[target] = nil
            effects.append(.finished(target))
            return
        }
        guard now >= session.restsUntil else { return }
        var inFlight = session.inFlight
        for index in session.batches.indices where session.batches[index].sentAt == nil && !session.batches[index].isDelivered {
            let batch = session.batches[index]
            guard session.credit > 0, inFlight == 0 || inFlight + batch.count <= options.hintsInFlight else { break }
            session.batches[index].sentAt = now
            if options.bytesPerSecond > 0 { session.credit -= Int64(batch.byteCount) * 1_000_000 }
            inFlight += batch.count
            effects.append(.send(target, batch: batch.number, batch.hints))
        }
        // A hole that stays open must not let what was delivered behind it pile up.
        let mayRead =
            !session.isReading && !session.isExhausted && !session.hasUnsent && session.credit > 0 && inFlight < options.hintsInFlight
            && session.batches.count < options.hintsInFlight && session.heldBytes < options.bytesInFlight
        if mayRead {
            session.isReading = true
            effects.append(
                .read(target, session: session.number, maxBytes: options.batchBytes, maxHints: options.hintsInFlight - inFlight))
        }
        sessions[target] = session
    }
}
