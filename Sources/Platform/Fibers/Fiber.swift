import CLinux

/// Work for a fiber.
public protocol FiberTask: AnyObject {
    /// Runs on the fiber, and may wait there.
    func run(on fiber: Fiber)
}

/// A stack on which straight code runs that may wait: while it waits, the thread that ran it does other things.
///
/// 1. `FiberPool.run` begins a task on a free fiber and returns when the task waits or is done.
/// 2. `wait` and its like, called on the fiber, return to whoever began or resumed it.
/// 3. What the fiber waits for has it resumed on its loop. It always runs on the thread of that loop.
///
/// No lock of a thread may be held while a fiber waits: another fiber of the thread would wait for it for ever.
///
/// **Thread safety**: its loop only, except the closures that `wait` hands out.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class Fiber: @unchecked Sendable {
    public unowned let pool: FiberPool
    /// What the owner of the pool keeps with each fiber, made with it.
    public let attachment: AnyObject?
    /// Whether the task has waited since it began: pointers that its caller lent it are gone.
    public private(set) var hasWaited = false

    private var stack: FiberStack?
    private var task: (any FiberTask)?
    private var isDone = true
    private var isEnding = false
    private var isWaiting = false
    /// Counts waits that have ended: a resumption that was meant for one of them does nothing.
    private var waits: UInt64 = 0
    #if DEBUG
        /// The accesses to variables that the fiber has under way, while it waits (`auspex_accesses_enter`).
        private let accesses = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
    #endif
    /// Monotonic nanoseconds at which the present turn began; 0: not looked at yet.
    private var turnBegan: UInt64 = 0

    init(pool: FiberPool, attachment: AnyObject?, stackBytes: Int) {
        self.pool = pool
        self.attachment = attachment
        #if DEBUG
            accesses.initializeMemory(as: UInt64.self, repeating: 0, count: 2)
        #endif
        stack = FiberStack(
            bytes: stackBytes,
            entry: { argument in
                // `argument` is the fiber, passed below, which its pool keeps alive until the code has returned.
                let fiber = Unmanaged<Fiber>.fromOpaque(argument.unsafelyUnwrapped)
                fiber._withUnsafeGuaranteedRef { $0.loop() }
                return fiber._withUnsafeGuaranteedRef { $0.stack?.returnPointer }
            }, argument: Unmanaged.passUnretained(self).toOpaque())
    }

    #if DEBUG
        deinit { accesses.deallocate() }
    #endif

    /// The fiber that runs on this thread; nil on a thread's own stack.
    public static var current: Fiber? {
        auspex_fiber_current().map { Unmanaged<Fiber>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Whether a fiber runs on this thread: then what would block the thread waits on the fiber instead.
    @inline(__always) public static var isRunning: Bool { auspex_fiber_current() != nil }

    /// Forgets the fiber that runs on this thread: for a simulator that leaves its stack for ever.
    public static func abandonCurrent() { auspex_fiber_set_current(nil) }

    // MARK: Turns

    private func loop() {
        while !isEnding {
            if let task {
                task.run(on: self)
                self.task = nil
            }
            isDone = true
            stack.unsafelyUnwrapped.leave()  // the code runs on it
        }
    }

    /// Runs `task` until it waits or is done.
    /// - Returns: whether it is done.
    @inline(__always) func begin(_ task: any FiberTask) -> Bool {
        self.task = task
        isDone = false
        hasWaited = false
        return turn()
    }

    @inline(__always) private func turn() -> Bool {
        let before = auspex_fiber_current()
        auspex_fiber_set_current(Unmanaged.passUnretained(self).toOpaque())
        turnBegan = 0
        #if DEBUG
            if !pool.comparesAccesses { auspex_accesses_enter(accesses) }
        #endif
        stack.unsafelyUnwrapped.enter()  // nil only after `end`
        #if DEBUG
            if !pool.comparesAccesses { auspex_accesses_leave(accesses) }
        #endif
        auspex_fiber_set_current(before)
        return isDone
    }

    /// Lets the code return and frees the stack; only when no task is on it.
    func end() {
        precondition(isDone, "a fiber ends with a task on it")
        isEnding = true
        stack?.enter()
        stack = nil
    }

    /// Leaves the stack until `resume`; on the fiber.
    public func suspend() {
        hasWaited = true
        isWaiting = true
        // A fiber that nobody resumes is never freed: there is code on its stack.
        let kept = Unmanaged.passRetained(self)
        stack.unsafelyUnwrapped.leave()  // the code runs on it
        kept.release()
        waits += 1
    }

    /// Goes on behind `suspend`; on the fiber's loop, not on the fiber itself.
    public func resume() {
        precondition(isWaiting, "a fiber is resumed that does not wait")
        isWaiting = false
        if turn() { pool.put(self) }
    }

    // MARK: Waiting, on the fiber

    /// Waits until `resume` is called, from any thread, perhaps before `register` has returned. Later calls do nothing.
    public func wait(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void) {
        let number = waits
        register { [self] in pool.network.onLoop(pool.loop) { [self] in resume(wait: number) } }
        suspend()
    }

    private func resume(wait number: UInt64) {
        if isWaiting && waits == number { resume() }
    }

    /// Waits for a time.
    public func sleep(nanoseconds: UInt64) {
        let number = waits
        pool.network.schedule(loop: pool.loop, nanoseconds: nanoseconds) { [self] in resume(wait: number) }
        suspend()
    }

    /// Runs `body` on a background thread and waits until it is done.
    public func offload(_ kind: BackgroundKind, _ body: () -> Void) {
        withoutActuallyEscaping(body) { body in
            let job = Job(body)
            wait { resume in
                pool.background.run(kind) {
                    job.run()
                    resume()
                }
            }
        }
    }

    /// A closure that is let go of before the fiber is resumed, because it must not outlive the call that lent it.
    ///
    /// SAFETY: `@unchecked Sendable` because one thread at a time touches it: the one that runs the closure, while the fiber waits.
    private final class Job: @unchecked Sendable {
        private var body: (() -> Void)?
        init(_ body: @escaping () -> Void) { self.body = body }

        func run() {
            let work = body
            body = nil
            work?()
        }
    }

    /// Lets the loop serve others when the fiber has run for `FiberPool.turnNanoseconds` since it was begun or resumed. Costs a look at the clock: call it
    /// every few microseconds of work.
    public func yieldIfNeeded() {
        let now = pool.time.monotonicNanoseconds()
        if turnBegan == 0 { turnBegan = now }
        if now &- turnBegan >= FiberPool.turnNanoseconds || pool.network.yieldsNow() { yield() }
    }

    /// Lets the loop serve others, and goes on after that.
    public func yield() {
        pool.queue(self)
        suspend()
    }
}

extension Fiber {
    /// Runs `body` where it may block: here, or, when a fiber runs here, on a background thread while the fiber waits.
    @inline(__always) public static func blocking(_ kind: BackgroundKind, _ body: () -> Void) {
        guard isRunning, let fiber = current else { return body() }
        fiber.offload(kind, body)
    }

    /// `yieldIfNeeded` of the fiber that runs here, if one does.
    @inline(__always) public static func yieldIfNeeded() {
        guard isRunning else { return }
        current?.yieldIfNeeded()
    }
}
