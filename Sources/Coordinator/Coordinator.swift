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
        /// `operation` may have to fail if that is impossible; nil when it has finished.
        case hint(UUID, mutations: [UInt8], writtenAt: UInt32?, operation: UInt64?)
        /// Measured latencies of nodes that answered reads.
        case latencies([ReadLatency])
        /// The operation has its result. With a refusal, starting it again later may succeed. `owner` is the object
        /// that was passed to `begin(for:)`.
        case finished(operation: UInt64, Result<Outcome, ServerError>, Refusal?, owner: AnyObject?)
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

    public var limits: CoordinatorLimits
    public let clock: HybridClock
    public let local: UUID
    var random: SeededRandom
    let reconciler = Reconciler()
    private var effects: [Effect] = []
    private var slots: OperationSlots
    /// Operations that have finished during the present event.
    private var ended: [Operation] = []
    /// The owner of the operation that begins next.
    private var nextOwner: AnyObject?
    /// Operations that have ended, to be used again instead of new ones.
    private var spareWrites: [WriteOperation] = []
    private var spareReads: [ReadOperation] = []
    private static let spareLimit = 256
    /// How many events are being processed, one inside the other.
    private var depth = 0
    private var active = 0
    /// Requests without a reply.
    private var outstanding = 0
    /// The time of the last event.
    private var time: Int64 = 0
    private var timers = TimeHeap()
    private var latencies = ReadLatencies()
    /// The latencies of whole reads by key, by table.
    private var tableLatencies: [UUID: TableLatencies] = [:]
    /// Counts for metrics: read repairs, speculative reads, hints and so on.
    public private(set) var counters = CoordinatorCounters()

    /// - Parameter generation: of the first ids. Replies to ids of a lower generation are ignored.
    public init(local: UUID, clock: HybridClock, limits: CoordinatorLimits, seed: UInt64, generation: UInt32 = 1) {
        self.local = local
        self.clock = clock
        self.limits = limits
        random = SeededRandom(seed: seed)
        slots = OperationSlots(generation: generation)
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
    public var outstandingCount: Int { outstanding }
    /// The time at which `advance` must be called next, in monotonic microseconds.
    public var nextDeadline: Int64? { timers.first }

    // MARK: Operations

    /// Begins the operation that `body` begins on behalf of `owner`, which receives its `Effect.finished`.
    public func begin(
        for owner: AnyObject, _ body: (Coordinator) throws(ServerError) -> UInt64
    ) throws(ServerError) -> UInt64 {
        nextOwner = owner
        defer { nextOwner = nil }
        return try body(self)
    }

    func begin(_ operation: Operation, now: Int64) -> UInt64 {
        time = now
        // The operations inside this one have no owner.
        operation.owner = nextOwner
        nextOwner = nil
        let id = slots.add(operation)
        operation.id = id
        active += 1
        depth += 1
        defer { leaveEvent() }
        if active > limits.operations {
            operation.finish(
                .failure(ServerError(.overloaded, "too many requests wait for other nodes; slow down and try again")))
            return id.value
        }
        operation.start(now: now)
        // An operation that has already finished and waits for no reply needs no deadline.
        if !operation.isFinished || operation.outstanding > 0 { setTimer(operation) }
        return id.value
    }

    /// Ends an event. After the outermost one, frees the slots of operations that have finished and wait for no reply.
    private func leaveEvent() {
        depth -= 1
        guard depth == 0, !ended.isEmpty else { return }
        for operation in ended where operation.outstanding == 0 { free(operation) }
        ended.removeAll(keepingCapacity: true)
    }

    private func free(_ operation: Operation) {
        guard slots.contains(operation.id) else { return }
        timers.remove(operation.id.slot)
        slots.remove(operation.id)
        if spareWrites.count < Coordinator.spareLimit, let write = operation.asReusableWrite {
            write.removeMutations()
            spareWrites.append(write)
        } else if spareReads.count < Coordinator.spareLimit, let read = operation.asReusableRead {
            read.removeAnswers()
            spareReads.append(read)
        }
    }

    /// Takes a write operation that can be used again.
    func takeSpareWrite() -> WriteOperation? { spareWrites.popLast() }
    /// Takes a read operation that can be used again.
    func takeSpareRead() -> ReadOperation? { spareReads.popLast() }

    private func setTimer(_ operation: Operation) {
        timers.set(operation.id.slot, min(operation.wakeAt, operation.deadline))
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
        ended.append(operation)
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
        effects.append(.finished(operation: operation.id.value, result, refusal, owner: operation.owner))
        operation.owner = nil
    }

    func send(_ request: PeerRequest, of operation: Operation, to node: Int, tag: Int, now: Int64) {
        outstanding += 1
        let isMeasured = limits.latencyInterval > 0 && request.isRead
        let number = operation.addRequest(to: node, tag: tag, sentAt: isMeasured ? now : -1)
        effects.append(
            .send(
                request, to: operation.cluster.ring.nodes[node].id, id: operation.id.request(number),
                timeout: max(1, operation.deadline - now), epoch: operation.cluster.epoch))
    }

    /// Sends a request whose reply is ignored.
    func tell(_ request: PeerRequest, to node: UUID) {
        effects.append(
            .send(request, to: node, id: slots.unusedID(), timeout: limits.writeTimeout, epoch: nil))
    }

    /// Extends an operation's deadline.
    func postpone(_ operation: Operation, until deadline: Int64) {
        operation.deadline = deadline
        if timers.contains(operation.id.slot) { setTimer(operation) }
    }

    func hint(_ mutations: [UInt8], for node: UUID, of operation: Operation, writtenAt: UInt32? = nil) {
        guard limits.hintedHandoff else { return }
        counters.hints += 1
        effects.append(
            .hint(
                node, mutations: mutations, writtenAt: writtenAt,
                operation: operation.isFinished ? nil : operation.id.value))
    }

    func wake(_ operation: Operation, at time: Int64) {
        operation.wakeAt = time
        if timers.contains(operation.id.slot) { setTimer(operation) }
    }

    /// A random number from 0 up to, but not including, `limit`.
    public func randomNumber(below limit: UInt64) -> UInt64 { random.next() % limit }

    func count(_ change: (inout CoordinatorCounters) -> Void) { change(&counters) }

    // MARK: Events

    /// Processes a node's reply to request `id`; ignored when the request has expired.
    public func receive(_ reply: PeerReply, id: UInt64, now: Int64) {
        let id = OperationID(id)
        guard let operation = slots.operation(id), let request = operation.takeRequest(id.number) else { return }
        time = now
        outstanding -= 1
        if request.sentAt >= 0 { measure(request, of: operation, reply, now: now) }
        if case .failed(let reason, _) = reply {
            if reason == .ringChanged { operation.wasRefusedByNewerMembers = true }
            if reason == .unknownTable { operation.hasMetUnknownTable = true }
        }
        depth += 1
        operation.receive(reply, tag: Int(request.tag), from: Int(request.node), now: now)
        leaveEvent()
        // One that had finished earlier and waited for its last reply.
        if operation.isFinished && operation.outstanding == 0 { free(operation) }
    }

    /// Advances the time to `now`: wakes operations whose wake time has come and expires those past their deadline.
    public func advance(now: Int64) {
        time = now
        while let slot = timers.take(until: now) {
            guard let operation = slots.operation(inSlot: slot) else { continue }
            depth += 1
            defer { leaveEvent() }
            if operation.deadline > now {
                operation.wakeAt = .max
                setTimer(operation)
                if !operation.isFinished { operation.woken(now: now) }
                continue
            }
            operation.expire(now: now)
            forget(operation, now: now)
        }
    }

    /// Drops the requests of an expired operation that have no reply, and the operation if it has finished.
    private func forget(_ operation: Operation, now: Int64) {
        if operation.outstanding > 0 {
            outstanding -= operation.outstanding
            for request in operation.takeAllRequests() where request.sentAt >= 0 {
                latencies.add(now - request.sentAt, of: Int(request.node), in: operation.cluster)
            }
            if limits.latencyInterval > 0 { reportLatencies(operation.cluster, now: now) }
        }
        if operation.isFinished { free(operation) }
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

    private func measure(_ request: Operation.Request, of operation: Operation, _ reply: PeerReply, now: Int64) {
        var latency = now - request.sentAt
        if case .failed(let reason, _) = reply {
            // These refusals say nothing about latency. Other errors must not make a node look fast.
            if reason == .ringChanged || reason == .unknownTable { return }
            latency = max(latency, limits.speculativeDelay)
        }
        latencies.add(latency, of: Int(request.node), in: operation.cluster)
        reportLatencies(operation.cluster, now: now)
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
