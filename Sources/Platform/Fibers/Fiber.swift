import CLinux

/// A task to run on a fiber.
public protocol FiberTask: AnyObject {
    /// Runs the task on the fiber; may wait there.
    func run(on fiber: Fiber)
}

/// A stack for straight code that may wait. While it waits, its thread does other work.
///
/// 1. `FiberPool.run` starts a task on an idle fiber and returns when the task waits or is done.
/// 2. `wait` and similar methods, called on the fiber, return to the code that started or resumed it.
/// 3. The event waited for resumes the fiber on its loop. A fiber always runs on the thread of its loop.
///
/// No thread lock may be held while a fiber waits: another fiber of the same thread could block on it for ever.
///
/// **Thread safety**: its loop only, except the closures that `wait` passes out.
/// SAFETY: `@unchecked Sendable` for that reason.
public final class Fiber: @unchecked Sendable {
    public unowned let pool: FiberPool
    /// An object that the pool's owner keeps with each fiber; created with the fiber.
    public let attachment: AnyObject?
    /// Whether the task has waited since it began. Pointers borrowed from its caller are then invalid.
    public private(set) var hasWaited = false

    private var stack: FiberStack?
    private var task: (any FiberTask)?
    private var isDone = true
    private var isEnding = false
    private var isWaiting = false
    /// The number of waits that have ended. A resumption meant for an earlier wait is ignored.
    private var waits: UInt64 = 0
    /// How often the fiber has waited for a background thread, such as one that reads a disk.
    public private(set) var offloads: UInt64 = 0
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
                // `argument` is the fiber, passed below; its pool keeps it alive until the code has returned.
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

    /// Whether a fiber runs on this thread. If so, an operation that would block the thread waits on the fiber instead.
    @inline(__always) public static var isRunning: Bool { auspex_fiber_current() != nil }

    /// Clears the current fiber of this thread, for a simulator that never returns to its stack.
    public static func abandonCurrent() { auspex_fiber_set_current(nil) }

    /// The deepest use of the stack so far, in bytes, rounded up to whole pages.
    public var deepestStackBytes: Int { stack?.residentBytes ?? 0 }

    /// Calls `resume`: one closure for all waits of the fiber.
    public private(set) lazy var resumer: () -> Void = { [unowned self] in resume() }

    // MARK: Turns

    private func loop() {
        while !isEnding {
            if let task {
                task.run(on: self)
                self.task = nil
            }
            isDone = true
            stack.unsafelyUnwrapped.leave()  // this code runs on the stack
        }
    }

    /// Runs `task` until it waits or is done.
    /// - Returns: whether the task is done.
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

    /// Lets the stack's code return and frees the stack. Only when no task runs on it.
    func end() {
        precondition(isDone, "cannot end a fiber that runs a task")
        isEnding = true
        stack?.enter()
        stack = nil
    }

    /// Leaves the stack until `resume`. Call it on the fiber.
    public func suspend() {
        hasWaited = true
        isWaiting = true
        // A fiber that is never resumed is never freed: its stack still has active frames.
        let kept = Unmanaged.passRetained(self)
        stack.unsafelyUnwrapped.leave()  // this code runs on the stack
        kept.release()
        waits += 1
    }

    /// Continues after `suspend`. Call it on the fiber's loop, not on the fiber.
    public func resume() {
        precondition(isWaiting, "resumed a fiber that is not waiting")
        isWaiting = false
        if turn() { pool.put(self) }
    }

    // MARK: Waiting, on the fiber

    /// Waits until `resume` is called, from any thread, possibly before `register` has returned. Further calls have no
    /// effect.
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
        offloads += 1
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

    /// A closure that is released before the fiber is resumed, because it must not outlive the call that passed it.
    ///
    /// SAFETY: `@unchecked Sendable` because one thread at a time touches it: the one that runs the closure, while the
    /// fiber waits.
    private final class Job: @unchecked Sendable {
        private var body: (() -> Void)?
        init(_ body: @escaping () -> Void) { self.body = body }

        func run() {
            let work = body
            body = nil
            work?()
        }
    }

    /// Yields when the fiber has run for `FiberPool.turnNanoseconds` since it was started or resumed. Reads the clock:
    /// call it once per few microseconds of work.
    public func yieldIfNeeded() {
        let now = pool.time.monotonicNanoseconds()
        if turnBegan == 0 { turnBegan = now }
        if now &- turnBegan >= FiberPool.turnNanoseconds || pool.network.yieldsNow() { yield() }
    }

    /// Lets the loop serve other work, then continues.
    public func yield() {
        pool.queue(self)
        suspend()
    }
}

extension Fiber {
    /// Runs `body`, which may block, and returns its result: directly when no fiber runs here, otherwise on a
    /// background thread while the fiber waits.
    ///
    /// - Throws: what `body` throws.
    @inline(__always) public static func blocking<R, E: Error>(
        _ kind: BackgroundKind, _ body: () throws(E) -> R
    ) throws(E) -> R {
        guard isRunning, let fiber = current else { return try body() }
        var outcome: Result<R, E>?
        fiber.offload(kind) {
            do throws(E) { outcome = .success(try body()) } catch { outcome = .failure(error) }
        }
        guard let outcome else { preconditionFailure("offload returned before the closure had run") }
        return try outcome.get()
    }

    /// Calls `yieldIfNeeded` of the current fiber, if there is one.
    @inline(__always) public static func yieldIfNeeded() {
        guard isRunning else { return }
        current?.yieldIfNeeded()
    }
}
