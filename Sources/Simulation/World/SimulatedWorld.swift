import Primitives

/// Units of simulated time, in nanoseconds.
enum Nanoseconds {
    static let millisecond: UInt64 = 1_000_000
    static let second: UInt64 = 1_000_000_000
}

/// Simulated time, chance, and everything that happens, one thing after the other: all of it follows from the seed.
///
/// 1. What will happen stands in a queue, by time and, at one time, by the order it was put there.
/// 2. `run` takes the first event, sets the time to its, and lets it happen: directly, or on a thread, whose code is a node's.
/// 3. The code of a thread takes no simulated time. It ends its turn by being done, or by waiting, which puts an event into the queue.
///
/// **Thread safety**: none; one thread runs a world and its fibers, so nothing here is locked.
/// SAFETY: `@unchecked` for that reason.
public final class SimulatedWorld: @unchecked Sendable {
    public let seed: UInt64
    public var random: Chance
    /// Nanoseconds since the beginning.
    public private(set) var now: UInt64 = 0
    public private(set) var eventCount = 0
    public let log: SimulationLog
    private var queue = EventQueue()
    private var order: UInt64 = 0
    private var idle: [SimulatedThread] = []
    private var running: SimulatedThread?
    /// Fibers of nodes that crashed while they waited or ran.
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

    /// Lets what was held back happen now, in the order in which it would have.
    func release(_ events: [Event]) {
        for var event in events {
            event.time = now
            queue.add(event)
        }
    }

    /// Lets `work` happen after a time.
    func after(_ delay: UInt64, _ work: @escaping () -> Void) { add(after: delay, on: nil, .call(work)) }

    /// Runs until `isDone`, which is asked after every event.
    /// - Returns: false when the time is up, or nothing is left to happen.
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
            guard let incarnation = event.incarnation else { preconditionFailure("a thread runs on behalf of somebody") }
            let thread = idle.popLast() ?? SimulatedThread()
            give(thread) { thread.begin(incarnation, role, work) }
        case .resume(let thread):
            parked.remove(ObjectIdentifier(thread))
            give(thread) { thread.resume() }
        }
    }

    private func drop(_ event: Event) {
        if case .resume(let thread) = event.action, parked.remove(ObjectIdentifier(thread)) != nil { abandonedThreads += 1 }
    }

    private func give(_ thread: SimulatedThread, _ turn: () -> SimulatedThread.Turn) {
        precondition(running == nil, "two fibers at once")
        running = thread
        let outcome = turn()
        running = nil
        switch outcome {
        case .finished: idle.append(thread)
        case .parked: parked.insert(ObjectIdentifier(thread))
        case .abandoned: abandonedThreads += 1
        }
    }

    // MARK: Called on a fiber

    /// The thread that runs now.
    var current: SimulatedThread? { running }

    /// Lets the running thread wait until `register` has it resumed.
    func park(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void) {
        guard let thread = running, let incarnation = thread.incarnation else {
            preconditionFailure("only background work may wait, and this is no fiber")
        }
        precondition(thread.role == .background, "a loop must not wait")
        let once = Once()
        register { [self] in
            guard once.isFirst() else { return }
            add(after: random.nanoseconds(1_000...20_000), on: incarnation, .resume(thread))
        }
        thread.park()
    }

    /// Lets the running thread wait for a time.
    func sleep(_ nanoseconds: UInt64) {
        guard let thread = running, let incarnation = thread.incarnation else { preconditionFailure("only background work may sleep") }
        precondition(thread.role == .background, "a loop must not sleep")
        add(after: max(1, nanoseconds), on: incarnation, .resume(thread))
        thread.park()
    }

    /// Ends the running thread for ever, when its node is dead.
    func abandonIfDead() {
        guard let thread = running, let incarnation = thread.incarnation, !incarnation.isAlive else { return }
        thread.abandon()
    }

    /// Ends the fibers that wait for work; nothing may run after it.
    public func end() {
        for thread in idle { thread.end() }
        idle = []
        queue = EventQueue()
    }

    /// True the first time.
    private final class Once: @unchecked Sendable {
        // SAFETY: touched by the world's thread.
        private var isSpent = false
        func isFirst() -> Bool {
            defer { isSpent = true }
            return !isSpent
        }
    }
}
