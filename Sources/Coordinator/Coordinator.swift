import DataModel
import Messages
import Primitives

/// The requests of one loop that need other nodes: a state machine without I/O.
///
/// 1. `begin…` starts an operation; `receive`, `failed` and `advance` bring what happened and the time.
/// 2. After each, `takeEffects` gives what is to be done, in order.
/// 3. This node is asked like any other: a `send` to it is carried out by a call.
///
/// **Thread safety**: its loop only.
public final class Coordinator {
    public enum Effect {
        /// Ask a node; `id` comes back with its reply. After `timeout` microseconds nobody waits for it. `epoch` is the version of the metadata
        /// by which it was chosen, nil when it does not matter.
        case send(PeerRequest, to: UUID, id: UInt64, timeout: Int64, epoch: UInt64?)
        /// Keep mutations for a node that missed them; `writtenAt`, in seconds since 1970, when that is not now.
        case hint(UUID, mutations: [UInt8], writtenAt: UInt32?, operation: UInt64)
        /// Nodes answered reads so fast.
        case latencies([ReadLatency])
        /// The operation has its result. With a refusal, beginning it again later may succeed.
        case finished(operation: UInt64, Result<Outcome, ServerError>, Refusal?)
    }

    /// Why replicas did nothing of what they were asked.
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
        /// When, where the time until its reply is measured; else -1.
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
    /// Of the last event.
    private var time: Int64 = 0
    private var timers = DeadlineQueue()
    private var latencies = ReadLatencies()
    /// Of reads by key, whole, by table.
    private var tableLatencies: [UUID: TableLatencies] = [:]
    /// For metrics: read repairs done, speculative reads sent, hints made.
    public private(set) var counters = CoordinatorCounters()

    /// - Parameter firstID: of requests; coordinators of one node must not share ids.
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

    /// The effects there are, in place of what `taken` has, which must be nothing: its room is used for those that come.
    public func takeEffects(into taken: inout [Effect]) { swap(&taken, &effects) }

    public var hasEffects: Bool { !effects.isEmpty }
    /// Operations begun and not finished.
    public var activeCount: Int { active }
    /// Requests that have no reply yet, also of operations that have their result.
    public var outstandingCount: Int { asked.count }
    /// When `advance` wants to be called next, in monotonic microseconds.
    public var nextDeadline: Int64? { timers.first }

    // MARK: Operations

    func begin(_ operation: Operation, now: Int64) -> UInt64 {
        time = now
        operation.id = nextID
        nextID += 1
        active += 1
        if active > limits.operations {
            operation.finish(.failure(ServerError(.overloaded, "too many requests wait for other nodes; slow down and try again")))
            return operation.id
        }
        operation.start(now: now)
        // What has ended meanwhile, and waits for no answer, is not kept.
        if !operation.isFinished || operation.outstanding > 0 { timers.add(operation) }
        return operation.id
    }

    /// Begins an operation that is part of `outer`, which gets its result by a call.
    func beginInner(_ operation: Operation, of outer: Operation, now: Int64, _ done: @escaping (Result<Outcome, ServerError>, _ now: Int64) -> Void) {
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
        asked[id] = Asked(operation: operation, node: node, tag: tag, sentAt: limits.latencyInterval > 0 && request.isRead ? now : -1)
        operation.requests.append(id)
        effects.append(
            .send(
                request, to: operation.cluster.ring.nodes[node].id, id: id, timeout: max(1, operation.deadline - now),
                epoch: operation.cluster.epoch))
    }

    /// Asks a node for something whose answer nobody waits for.
    func tell(_ request: PeerRequest, to node: UUID) {
        effects.append(.send(request, to: node, id: nextID, timeout: limits.writeTimeout, epoch: nil))
        nextID += 1
    }

    /// Gives an operation more time.
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

    /// A number from 0 to below `limit`.
    public func randomNumber(below limit: UInt64) -> UInt64 { random.next() % limit }

    func count(_ change: (inout CoordinatorCounters) -> Void) { change(&counters) }

    // MARK: Events

    /// A node's reply to request `id`; ignored when nobody waits for it any more.
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

    /// An operation that waits for nothing any more need not be kept until its deadline.
    private func settle(_ operation: Operation) {
        if operation.isFinished && operation.outstanding == 0 { timers.remove(operation) }
    }

    /// The time is now `now`: operations that waited for it go on, those that are late end.
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

    /// Nobody waits for what an operation still has outstanding.
    private func forget(_ operation: Operation, now: Int64) {
        guard operation.outstanding > 0 else { return }
        defer { if limits.latencyInterval > 0 { tellLatencies(operation.cluster, now: now) } }
        for id in operation.requests {
            guard let asked = asked.removeValue(forKey: id), asked.sentAt >= 0 else { continue }
            latencies.add(now - asked.sentAt, of: asked.node, in: operation.cluster)
        }
    }

    // MARK: Latencies

    /// How long reads of a table take, as far as its option wants to know.
    func latencies(of table: UUID, _ placement: TablePlacement) -> TableLatencies {
        let policy = placement.rules.speculativeRetry
        if let known = tableLatencies[table], known.follows(policy) { return known }
        // Tables that were dropped are forgotten with the rest.
        if tableLatencies.count >= Coordinator.tablesMeasured { tableLatencies = [:] }
        let fresh = TableLatencies(policy, otherwise: limits.speculativeDelay)
        tableLatencies[table] = fresh
        return fresh
    }

    private static let tablesMeasured = 4096

    private func measure(_ asked: Asked, _ reply: PeerReply, now: Int64) {
        var latency = now - asked.sentAt
        if case .failed(let reason, _) = reply {
            // No fault of its own; and what fails at once must not pass for fast.
            if reason == .ringChanged || reason == .unknownTable { return }
            latency = max(latency, limits.speculativeDelay)
        }
        latencies.add(latency, of: asked.node, in: asked.operation.cluster)
        tellLatencies(asked.operation.cluster, now: now)
    }

    /// A node has not answered a read for so long: the next read need not wait for it again.
    func isSilent(_ node: Int, in cluster: ClusterView, for time: Int64, now: Int64) {
        guard limits.latencyInterval > 0 else { return }
        latencies.add(time, of: node, in: cluster)
        tellLatencies(cluster, now: now)
    }

    private func tellLatencies(_ cluster: ClusterView, now: Int64) {
        if let news = latencies.take(every: limits.latencyInterval, in: cluster, now: now) { effects.append(.latencies(news)) }
    }
}

/// What coordinators did, since the start.
public struct CoordinatorCounters: Sendable {
    public var readRepairs = 0
    public var digestMismatches = 0
    public var speculativeReads = 0
    public var hints = 0
    public var timeouts = 0

    public init() {}
}

/// Operations by when they want to be told next, earliest first: a binary heap.
///
/// An operation stands in it once, and knows its place.
struct DeadlineQueue {
    private struct Entry {
        let time: Int64
        let order: UInt64
        let operation: Operation
    }

    private var heap: [Entry] = []
    private var order: UInt64 = 0

    var first: Int64? { heap.first?.time }

    private static func precedes(_ a: Entry, _ b: Entry) -> Bool { a.time != b.time ? a.time < b.time : a.order < b.order }

    mutating func add(_ operation: Operation) {
        precondition(operation.timerPlace < 0, "an operation has one place in the queue")
        heap.append(Entry(time: min(operation.wakeAt, operation.deadline), order: order, operation: operation))
        order += 1
        rise(from: heap.count - 1)
    }

    /// After an operation's times have changed; nothing, when it is not in the queue.
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

    /// The earliest, when its time has come.
    mutating func take(until now: Int64) -> Operation? {
        guard let first = heap.first, first.time <= now else { return nil }
        remove(first.operation)
        return first.operation
    }
}
