import Platform

/// A thread of a simulated node: a stack that the world switches to.
///
/// 1. `begin` starts work on the thread; `resume` continues work that waits.
/// 2. Both return when the work waits (`park`), is done, or belongs to a node that crashed (`abandon`).
/// 3. Abandoned work never runs again. Its stack, and everything it references, stays until the process ends.
///
/// All simulated threads run on the OS thread that runs the world, which switches between their stacks. The node's own
/// fibers (`Platform.Fiber`) run on top of them, as they run on a loop's thread in a real node.
///
/// **Thread safety**: none; one thread uses it.
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class SimulatedThread: @unchecked Sendable {
    /// The reason why a turn ended.
    enum Turn { case finished, parked, abandoned }

    private var stack: FiberStack?
    private var work: (() -> Void)?
    private var isEnding = false
    private var turn = Turn.finished
    /// The process whose code the thread runs.
    private(set) var incarnation: Incarnation?
    private(set) var role = ThreadRole.loop

    private static let stackBytes = 2 << 20

    init() {
        // The code on the stack retains the thread until `end`: an abandoned stack must never be freed.
        let context = Unmanaged.passRetained(self).toOpaque()
        stack = FiberStack(
            bytes: SimulatedThread.stackBytes,
            entry: { argument in
                // Passed above, never null.
                let thread = Unmanaged<SimulatedThread>.fromOpaque(argument.unsafelyUnwrapped)
                thread._withUnsafeGuaranteedRef { $0.run() }
                return thread._withUnsafeGuaranteedRef { $0.stack?.returnPointer }
            }, argument: context)
    }

    private func run() {
        while !isEnding {
            work?()
            work = nil
            turn = .finished
            stack?.leave()
        }
    }

    /// Runs `work` until it waits or is done.
    func begin(_ incarnation: Incarnation, _ role: ThreadRole, _ work: @escaping () -> Void) -> Turn {
        precondition(self.work == nil, "the thread is busy")
        self.incarnation = incarnation
        self.role = role
        self.work = work
        return resume()
    }

    /// Resumes work that waits.
    func resume() -> Turn {
        stack?.enter()
        if turn == .abandoned { Fiber.abandonCurrent() }
        return turn
    }

    /// Ends the turn; returns when the thread is resumed. Call it on the thread.
    func park() {
        turn = .parked
        stack?.leave()
    }

    /// Ends the turn for ever. Call it on the thread, or on a fiber on top of it.
    func abandon() -> Never {
        turn = .abandoned
        stack?.leave()
        preconditionFailure("an abandoned thread was resumed")
    }

    /// Lets the code on the stack return. Call it when the thread is idle.
    func end() {
        isEnding = true
        stack?.enter()
        stack = nil
        Unmanaged.passUnretained(self).release()
    }
}

/// The kind of code that a simulated thread runs: a loop, which must not block, or background work.
enum ThreadRole: Equatable { case loop, background }
