import Platform

/// A thread of a simulated node: code with a stack of its own, to which the world gives turns.
///
/// 1. `begin` hands over work and the turn; `resume` the turn alone, to code that waits.
/// 2. Both return when the code waits (`park`), is done, or belongs to a node that crashed (`abandon`).
/// 3. What is abandoned never runs again. Its stack stays until the process ends, and with it what the code held.
///
/// All of them run on the thread that runs the world; a turn is a change of stacks. The node's own fibers (`Platform.Fiber`) run on top of them, as they
/// run on a loop's thread.
///
/// **Thread safety**: none; one thread uses it.
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs.
final class SimulatedThread: @unchecked Sendable {
    /// What became of the turn that was handed over.
    enum Turn { case finished, parked, abandoned }

    private var stack: FiberStack?
    private var work: (() -> Void)?
    private var isEnding = false
    private var turn = Turn.finished
    /// The process whose code it runs.
    private(set) var incarnation: Incarnation?
    private(set) var role = ThreadRole.loop

    private static let stackBytes = 2 << 20

    init() {
        // Retained by the code that runs on the stack, until `end`: an abandoned stack must never be freed.
        let context = Unmanaged.passRetained(self).toOpaque()
        stack = FiberStack(
            bytes: SimulatedThread.stackBytes,
            entry: { argument in
                let thread = Unmanaged<SimulatedThread>.fromOpaque(argument.unsafelyUnwrapped)  // passed above, never null
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

    /// Goes on with what waits.
    func resume() -> Turn {
        stack?.enter()
        if turn == .abandoned { Fiber.abandonCurrent() }
        return turn
    }

    /// Called on the thread: hands the turn back and returns when it is resumed.
    func park() {
        turn = .parked
        stack?.leave()
    }

    /// Called on the thread, or on a fiber on top of it: hands the turn back for ever.
    func abandon() -> Never {
        turn = .abandoned
        stack?.leave()
        preconditionFailure("an abandoned thread was resumed")
    }

    /// Lets the code on the stack return; call it when the thread is idle.
    func end() {
        isEnding = true
        stack?.enter()
        stack = nil
        Unmanaged.passUnretained(self).release()
    }
}

/// What a simulated thread runs: a loop, which must not block, or background work.
enum ThreadRole: Equatable { case loop, background }
