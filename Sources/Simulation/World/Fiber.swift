import CLinux
import Glibc

/// The code of a node, with a stack of its own: runs when the world hands it the turn, and hands it back when it waits or is done.
///
/// 1. `begin` hands over work and the turn; `resume` the turn alone, to code that waits.
/// 2. Both return when the code waits (`park`), is done, or belongs to a node that crashed (`abandon`).
/// 3. What is abandoned never runs again: its stack stays as it is until the process ends, and with it what the code held.
///
/// All fibers of a world run on the thread that runs the world: the hand-over is a change of stacks, which costs a fraction of a microsecond.
///
/// **Thread safety**: none; one thread uses it.
/// SAFETY: `@unchecked Sendable` because it belongs to a world, which one thread runs. The contexts and the stack are owned, made by `init` and freed by
/// `deinit`; while code is on the stack, the code's own frames hold the fiber.
final class Fiber: @unchecked Sendable {
    /// What became of the turn that was handed over.
    enum Turn { case finished, parked, abandoned }

    /// Where the fiber was left, and where whoever handed it the turn was.
    private let own: UnsafeMutableRawPointer
    private let caller: UnsafeMutableRawPointer
    private let stack: UnsafeMutableRawPointer
    private var work: (() -> Void)?
    private var isEnding = false
    private var turn = Turn.finished
    /// On whose behalf it runs.
    private(set) var incarnation: Incarnation?
    private(set) var role = FiberRole.loop

    /// Bytes; what is not touched takes no memory.
    private static let stackSize = 2 << 20
    /// Below the stack, so that what overflows it traps.
    private static let guardSize = 64 << 10

    init() {
        own = .allocate(byteCount: auspex_context_size(), alignment: 64)
        caller = .allocate(byteCount: auspex_context_size(), alignment: 64)
        let size = Fiber.guardSize + Fiber.stackSize
        guard let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), mapped != MAP_FAILED
        else { preconditionFailure("no memory for the stack of a fiber: error \(errno)") }
        mprotect(mapped, Fiber.guardSize, PROT_NONE)
        stack = mapped
        // Retained by the code that runs on the stack, until `end`.
        let context = Unmanaged.passRetained(self).toOpaque()
        auspex_context_make(
            own, mapped + Fiber.guardSize, Fiber.stackSize, caller,
            { Unmanaged<Fiber>.fromOpaque($0.unsafelyUnwrapped).takeUnretainedValue().run() },  // passed below, never null
            context)
    }

    deinit {
        munmap(stack, Fiber.guardSize + Fiber.stackSize)
        own.deallocate()
        caller.deallocate()
    }

    private func run() {
        while !isEnding {
            work?()
            work = nil
            turn = .finished
            auspex_context_switch(own, caller)
        }
    }

    /// Runs `work` until it waits or is done.
    func begin(_ incarnation: Incarnation, _ role: FiberRole, _ work: @escaping () -> Void) -> Turn {
        precondition(self.work == nil, "the fiber is busy")
        self.incarnation = incarnation
        self.role = role
        self.work = work
        return resume()
    }

    /// Goes on with what waits.
    func resume() -> Turn {
        auspex_context_switch(caller, own)
        return turn
    }

    /// Called on the fiber: hands the turn back and returns when it is resumed.
    func park() {
        turn = .parked
        auspex_context_switch(own, caller)
    }

    /// Called on the fiber: hands the turn back for ever.
    func abandon() -> Never {
        turn = .abandoned
        auspex_context_switch(own, caller)
        preconditionFailure("an abandoned fiber was resumed")
    }

    /// Lets the code on the stack return; call it when it is idle.
    func end() {
        isEnding = true
        auspex_context_switch(caller, own)
        Unmanaged.passUnretained(self).release()
    }
}

/// What a fiber runs: a loop, which must not wait, or background work.
enum FiberRole: Equatable { case loop, background }
