import DataModel
import Messages
import Primitives

/// Coordinates the requests of one event loop that involve other nodes: a state machine without I/O.
///
/// 1. `write`, `read` and the other methods that call `begin` start an operation. `receive` and `advance` feed replies
///    and the time.
/// 2. After each call, `takeEffects` returns the effects to perform, in order.
/// 3. This node is asked like any other: a `send` to it is performed by a local call.
///
/// **Thread safety**: its loop only.
public final class Coordinator {
    public enum Effect {
        /// Send a request to a node; its reply comes back with `id`. It expires after `timeout` microseconds. `epoch`
        /// is the version of the metadata by which the node was chosen; nil when it does not matter.
        case send(PeerRequest, to: UUID, id: UInt64, timeout: Int64, epoch: UInt64?)
        /// Store a hint with mutations that the node missed. `writtenAt`: seconds since 1970; nil means now.
        case hint(UUID, mutations: [UInt8], writtenAt: UInt32?, operation: UInt64)
        /// Measured latencies of nodes that answered reads.
        case latencies([ReadLatency])
        /// The operation has its result. With a refusal, starting it again later may succeed.
        case finished(operation: UInt64, Result<Outcome, ServerError>, Refusal?)
    }

    /// The reason why replicas refused a request without doing anything.
    public enum Refusal: Sendable {
        /// They know newer members of the cluster.
        case newerMembers
        /// They do not know a table: it was dropped, or is so new that not all have heard of it.
        case unknownTable
        /// This node's view lacks a table, for the same reasons: nothing was asked of anybody.
        case viewLacksTable
    }

    private struct Asked {
        let operation: Operation
        let node: Int
        let tag: Int
        /// The send time, if the latency is measured; else -1.
        let sentAt: Int64
    }

    public var limits: CoordinatorLimits
    public let clock: HybridClock
    public let local: UUID
    var random: SeededRandom
    let reconciler = Reconciler()
    private var effects: [Effect] = []
    private var asked: [UInt64: Asked] = [:]
    private var nextID: UInt64
    private var active = 0
    /// The time of the last event.
    private var time: Int64 = 0
    private var timers = DeadlineQueue()
    private var latencies = ReadLatencies()
    /// The latencies of whole reads by key, by table.
    private var tableLatencies: [UUID: TableLatencies] = [:]
    /// Counts for metrics: read repairs, speculative reads, hints and so on.
    public private(set) var counters = CoordinatorCounters()

    /// - Parameter firstID: the first request id; the coordinators of one node must not share ids.
    public init(local: UUID, clock: HybridClock, limits: CoordinatorLimits, seed: UInt64, firstID: UInt64 = 1) {
        self.local = local
        self.clock = clock
        self.limits = limits
        random = SeededRandom(seed: seed)
        nextID = firstID
    }

    public func takeEffects() -> [Effect] {
        var taken: [Effect] = []
        takeEffects(into: &taken)
        return taken
    }

    /// Moves the pending effects into `taken`, which must be empty; its capacity is reused for the next effects.
    public func takeEffects(into taken: inout [Effect]) { swap(&taken, &effects) }

    public var hasEffects: Bool { !effects.isEmpty }
    /// Operations begun and not finished.
    public var activeCount: Int { active }
    /// Requests without a reply, including those of finished operations.
    public var outstandingCount: Int { asked.count }
    /// The time at which `advance` must be called next, in monotonic microseconds.
    public var nextDeadline: Int64? { timers.first }

    // MARK: Operations

    func begin(_ operation: Operation, now: Int64) -> UInt64 {
        time = now
        operation.id = nextID
        nextID += 1
        active += 1
        if active > limits.operations {
            operation.finish(
                .failure(ServerError(.overloaded, "too many requests wait for other nodes; slow down and try again")))
            return operation.id
        }
        operation.start(now: now)
        // An operation that has already finished and waits for no reply is not stored.
        if !operation.isFinished || operation.outstanding > 0 { timers.add(operation) }
        return operation.id
    }

    /// Begins an operation that is part of `outer` and reports its result by a call.
    func beginInner(
        _ operation: Operation, of outer: Operation, now: Int64,
        _ done: @escaping (Result<Outcome, ServerError>, _ now: Int64) -> Void
    ) {
        operation.outer = outer
        operation.whenFinished = done
        _ = begin(operation, now: now)
    }

    func finished(_ operation: Operation, _ result: Result<Outcome, ServerError>) {
        active -= 1
        settle(operation)
        var refusal: Refusal?
        if case .failure = result {
            if operation.hasMetUnknownTable { refusal = .unknownTable }
            if operation.viewLacksTable { refusal = .viewLacksTable }
            if operation.wasRefusedByNewerMembers { refusal = .newerMembers }
        }
        if let done = operation.whenFinished {
            switch refusal {
            case .newerMembers: operation.outer?.wasRefusedByNewerMembers = true
            case .unknownTable: operation.outer?.hasMetUnknownTable = true
            // The outer operation may have asked others.
            case .viewLacksTable: operation.outer?.hasMetUnknownTable = true
            case nil: break
            }
            operation.whenFinished = nil
            operation.outer = nil
            return done(result, time)
        }
        effects.append(.finished(operation: operation.id, result, refusal))
    }

    func send(_ request: PeerRequest, of operation: Operation, to node: Int, tag: Int, now: Int64) {
        let id = nextID
        nextID += 1
        asked[id] = Asked(
            operation: operation, node: node, tag: tag, sentAt: limits.latencyInterval > 0 && request.isRead ? now : -1)
        operation.requests.append(id)
        effects.append(
            .send(
                request, to: operation.cluster.ring.nodes[node].id, id: id, timeout: max(1, operation.deadline - now),
                epoch: operation.cluster.epoch))
    }

    /// Sends a request whose reply is ignored.
    func tell(_ request: PeerRequest, to node: UUID) {
        effects.append(.send(request, to: node, id: nextID, timeout: limits.writeTimeout, epoch: nil))
        nextID += 1
    }

    /// Extends an operation's deadline.
    func postpone(_ operation: Operation, until deadline: Int64) {
        operation.deadline = deadline
        timers.move(operation)
    }

    func hint(_ mutations: [UInt8], for node: UUID, of operation: Operation, writtenAt: UInt32? = nil) {
        guard limits.hintedHandoff else { return }
        counters.hints += 1
        effects.append(.hint(node, mutations: mutations, writtenAt: writtenAt, operation: operation.id))
    }

    func wake(_ operation: Operation, at time: Int64) {
        operation.wakeAt = time
        timers.move(operation)
    }

    /// A random number from 0 up to, but not including, `limit`.
    public func randomNumber(below limit: UInt64) -> UInt64 { random.next() % limit }

    func count(_ change: (inout CoordinatorCounters) -> Void) { change(&counters) }

    // MARK: Events

    /// Processes a node's reply to request `id`; ignored when the request has expired.
    public func receive(_ reply: PeerReply, id: UInt64, now: Int64) {
        guard let asked = asked.removeValue(forKey: id) else { return }
        time = now
        if asked.sentAt >= 0 { measure(asked, reply, now: now) }
        asked.operation.outstanding -= 1
        if case .failed(let reason, _) = reply {
            if reason == .ringChanged { asked.operation.wasRefusedByNewerMembers = true }
            if reason == .unknownTable { asked.operation.hasMetUnknownTable = true }
        }
        asked.operation.receive(reply, tag: asked.tag, from: asked.node, now: now)
        settle(asked.operation)
    }

    /// Removes a finished operation that waits for no more replies, instead of keeping it until its deadline.
    private func settle(_ operation: Operation) {
        if operation.isFinished && operation.outstanding == 0 { timers.remove(operation) }
    }

    /// Advances the time to `now`: wakes operations whose wake time has come and expires those past their deadline.
    public func advance(now: Int64) {
        time = now
        while let operation = timers.take(until: now) {
            if operation.deadline > now {
                operation.wakeAt = .max
                timers.add(operation)
                if !operation.isFinished { operation.woken(now: now) }
                continue
            }
            operation.expire(now: now)
            forget(operation, now: now)
        }
    }

    /// Drops the requests of an expired operation that have no reply.
    private func forget(_ operation: Operation, now: Int64) {
        guard operation.outstanding > 0 else { return }
        defer { if limits.latencyInterval > 0 { reportLatencies(operation.cluster, now: now) } }
        for id in operation.requests {
            guard let asked = asked.removeValue(forKey: id), asked.sentAt >= 0 else { continue }
            latencies.add(now - asked.sentAt, of: asked.node, in: operation.cluster)
        }
    }

    // MARK: Latencies

    /// Returns the latencies of a table's reads, as its `speculative_retry` needs them.
    func latencies(of table: UUID, _ placement: TablePlacement) -> TableLatencies {
        let policy = placement.rules.speculativeRetry
        if let known = tableLatencies[table], known.follows(policy) { return known }
        // Clears all tables, including dropped ones.
        if tableLatencies.count >= Coordinator.tablesMeasured { tableLatencies = [:] }
        let fresh = TableLatencies(policy, otherwise: limits.speculativeDelay)
        tableLatencies[table] = fresh
        return fresh
    }

    private static let tablesMeasured = 4096

    private func measure(_ asked: Asked, _ reply: PeerReply, now: Int64) {
        var latency = now - asked.sentAt
        if case .failed(let reason, _) = reply {
            // These refusals say nothing about latency. Other errors must not make a node look fast.
            if reason == .ringChanged || reason == .unknownTable { return }
            latency = max(latency, limits.speculativeDelay)
        }
        latencies.add(latency, of: asked.node, in: asked.operation.cluster)
        reportLatencies(asked.operation.cluster, now: now)
    }

    /// Counts a read that a node has not answered for `time` as a latency, so that the next read does not wait for it
    /// again.
    func isSilent(_ node: Int, in cluster: ClusterView, for time: Int64, now: Int64) {
        guard limits.latencyInterval > 0 else { return }
        latencies.add(time, of: node, in: cluster)
        reportLatencies(cluster, now: now)
    }

    private func reportLatencies(_ cluster: ClusterView, now: Int64) {
        if let news = latencies.take(every: limits.latencyInterval, in: cluster, now: now) {
            effects.append(.latencies(news))
        }
    }
}

/// What coordinators have done since the start.
public struct CoordinatorCounters: Sendable {
    public var readRepairs = 0
    public var digestMismatches = 0
    public var speculativeReads = 0
    public var hints = 0
    public var timeouts = 0

    public init() {}
}

/// A binary heap of operations by their next wake time or deadline, earliest first.
///
/// Each operation is in the heap at most once and stores its own position.
struct DeadlineQueue {
    private struct Entry {
        let time: Int64
        let order: UInt64
        let operation: Operation
    }

    private var heap: [Entry] = []
    private var order: UInt64 = 0

    var first: Int64? { heap.first?.time }

    private static func precedes(_ a: Entry, _ b: Entry) -> Bool {
        a.time != b.time ? a.time < b.time : a.order < b.order
    }

    mutating func add(_ operation: Operation) {
        precondition(operation.timerPlace < 0, "an operation has one place in the queue")
        heap.append(Entry(time: min(operation.wakeAt, operation.deadline), order: order, operation: operation))
        order += 1
        rise(from: heap.count - 1)
    }

    /// Moves an operation whose times have changed; does nothing if it is not in the queue.
    mutating func move(_ operation: Operation) {
        if operation.timerPlace < 0 { return }
        remove(operation)
        add(operation)
    }

    mutating func remove(_ operation: Operation) {
        let place = operation.timerPlace
        guard place >= 0 else { return }
        operation.timerPlace = -1
        let last = heap.removeLast()
        guard place < heap.count else { return }
        heap[place] = last
        rise(from: place)
        sink(from: last.operation.timerPlace)
    }

    private mutating func rise(from place: Int) {
        var child = place
        while child > 0 {
            let parent = (child - 1) / 2
            guard DeadlineQueue.precedes(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            heap[child].operation.timerPlace = child
            child = parent
        }
        heap[child].operation.timerPlace = child
    }

    private mutating func sink(from place: Int) {
        var parent = place
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, DeadlineQueue.precedes(heap[child + 1], heap[child]) { child += 1 }
            guard DeadlineQueue.precedes(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            heap[parent].operation.timerPlace = parent
            parent = child
        }
        heap[parent].operation.timerPlace = parent
    }

    /// Removes and returns the earliest operation whose time has come.
    mutating func take(until now: Int64) -> Operation? {
        guard let first = heap.first, first.time <= now else { return nil }
        remove(first.operation)
        return first.operation
    }
}
