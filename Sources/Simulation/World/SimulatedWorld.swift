import Primitives

/// Units of simulated time, in nanoseconds.
enum Nanoseconds {
    static let millisecond: UInt64 = 1_000_000
    static let second: UInt64 = 1_000_000_000
}

/// Simulated time, random choices and an event queue; the whole course of events follows from the seed.
///
/// 1. Events are queued by time, and by insertion order at equal times.
/// 2. `run` takes the first event, sets the time to the event's, and runs it: directly, or on a simulated thread that
///    executes a node's code.
/// 3. Code on a thread takes no simulated time. Its turn ends when it is done or when it waits, which queues an event.
///
/// **Thread safety**: none; one OS thread runs a world and its simulated threads, so nothing here is locked.
/// SAFETY: `@unchecked` for that reason.
public final class SimulatedWorld: @unchecked Sendable {
    public let seed: UInt64
    public var random: Chance
    /// Nanoseconds since the world began.
    public private(set) var now: UInt64 = 0
    public private(set) var eventCount = 0
    public let log: SimulationLog
    private var queue = EventQueue()
    private var order: UInt64 = 0
    private var idle: [SimulatedThread] = []
    private var running: SimulatedThread?
    /// Simulated threads of nodes that crashed while the threads waited or ran.
    public private(set) var abandonedThreads = 0
    private var parked: Set<ObjectIdentifier> = []

    public init(seed: UInt64, log: SimulationLog) {
        self.seed = seed
        self.log = log
        random = Chance(seed: seed)
    }

    // MARK: Events

    func add(after delay: UInt64, on incarnation: Incarnation?, _ action: Event.Action) {
        queue.add(Event(time: now &+ delay, order: order, incarnation: incarnation, action: action))
        order += 1
    }

    /// Queues deferred events for now, in their original order.
    func release(_ events: [Event]) {
        for var event in events {
            event.time = now
            queue.add(event)
        }
    }

    /// Runs `work` after a delay.
    func after(_ delay: UInt64, _ work: @escaping () -> Void) { add(after: delay, on: nil, .call(work)) }

    /// Runs until `isDone`, which is called after every event.
    /// - Returns: false when the time limit is reached or no event is left.
    @discardableResult public func run(atMost limit: UInt64, until isDone: () -> Bool = { false }) -> Bool {
        let end = now &+ limit
        while !isDone() {
            guard let first = queue.firstTime, first <= end else {
                now = end
                return false
            }
            step()
        }
        return true
    }

    private func step() {
        guard let event = queue.removeFirst() else { return }
        now = max(now, event.time)
        if let incarnation = event.incarnation {
            if !incarnation.isAlive { return drop(event) }
            if incarnation.machine.pausedUntil > now { return incarnation.machine.hold(event) }
        }
        eventCount += 1
        switch event.action {
        case .call(let work): work()
        case .begin(let role, let work):
            guard let incarnation = event.incarnation else {
                preconditionFailure("an event that runs on a thread needs a process")
            }
            let thread = idle.popLast() ?? SimulatedThread()
            give(thread) { thread.begin(incarnation, role, work) }
        case .resume(let thread):
            parked.remove(ObjectIdentifier(thread))
            give(thread) { thread.resume() }
        }
    }

    private func drop(_ event: Event) {
        if case .resume(let thread) = event.action, parked.remove(ObjectIdentifier(thread)) != nil {
            abandonedThreads += 1
        }
    }

    private func give(_ thread: SimulatedThread, _ turn: () -> SimulatedThread.Turn) {
        precondition(running == nil, "two threads at once")
        running = thread
        let outcome = turn()
        running = nil
        switch outcome {
        case .finished: idle.append(thread)
        case .parked: parked.insert(ObjectIdentifier(thread))
        case .abandoned: abandonedThreads += 1
        }
    }

    // MARK: Called on a simulated thread

    /// The thread that runs now.
    var current: SimulatedThread? { running }

    /// Makes the running thread wait until it is resumed through `register`.
    func park(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void) {
        guard let thread = running, let incarnation = thread.incarnation else {
            preconditionFailure("only a simulated background thread may wait")
        }
        precondition(thread.role == .background, "a loop must not wait")
        let once = Once()
        register { [self] in
            guard once.isFirst() else { return }
            add(after: random.nanoseconds(1_000...20_000), on: incarnation, .resume(thread))
        }
        thread.park()
    }

    /// Makes the running thread wait for a time.
    func sleep(_ nanoseconds: UInt64) {
        guard let thread = running, let incarnation = thread.incarnation else {
            preconditionFailure("only background work may sleep")
        }
        precondition(thread.role == .background, "a loop must not sleep")
        add(after: max(1, nanoseconds), on: incarnation, .resume(thread))
        thread.park()
    }

    /// Abandons the running thread if its node is dead.
    func abandonIfDead() {
        guard let thread = running, let incarnation = thread.incarnation, !incarnation.isAlive else { return }
        thread.abandon()
    }

    /// Ends the idle threads; nothing may run afterwards.
    public func end() {
        for thread in idle { thread.end() }
        idle = []
        queue = EventQueue()
    }

    /// Returns true on the first call only.
    private final class Once: @unchecked Sendable {
        // SAFETY: accessed by the world's thread only.
        private var isSpent = false
        func isFirst() -> Bool {
            defer { isSpent = true }
            return !isSpent
        }
    }
}
