import Glibc

/// Who may run: given by one thread, taken by another that waits for it.
///
/// SAFETY: the semaphore is owned, made by `init` and destroyed by `deinit`; nobody waits for it then, for who waits holds a reference.
final class Baton: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func give() { sem_post(semaphore) }

    /// Waits for `give`.
    func take() { while sem_wait(semaphore) != 0 {} }
}

/// A thread that runs the code of a node when the world hands it the baton, and hands it back when the code waits or is done.
///
/// 1. `begin` hands over work and the baton; `resume` the baton alone, to code that waits.
/// 2. Both return when the code waits (`park`), is done, or belongs to a node that crashed (`abandon`).
/// 3. What is abandoned never runs again: its thread stays where it is until the process ends.
///
/// **Thread safety**: exactly one thread of a world runs at a time; the baton orders what they touch.
final class Fiber: @unchecked Sendable {
    /// What became of the turn that was handed over.
    enum Turn { case finished, parked, abandoned }

    private let baton = Baton()
    private let caller = Baton()
    private var work: (() -> Void)?
    private var isEnding = false
    private var turn = Turn.finished
    /// On whose behalf it runs.
    private(set) var incarnation: Incarnation?
    private(set) var role = FiberRole.loop

    init() {
        var thread = pthread_t()
        // SAFETY: the thread takes over this reference and releases it when it ends.
        let context = Unmanaged.passRetained(self).toOpaque()
        let failed = pthread_create(
            &thread, nil,
            { raw in
                Unmanaged<Fiber>.fromOpaque(raw.unsafelyUnwrapped).takeRetainedValue().run()  // passed below, never null
                return nil
            }, context)
        precondition(failed == 0, "no thread for a fiber: error \(failed)")
        pthread_detach(thread)
    }

    private func run() {
        while true {
            baton.take()
            if isEnding { return }
            work?()
            work = nil
            turn = .finished
            caller.give()
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
        baton.give()
        caller.take()
        return turn
    }

    /// Called on the fiber: hands the baton back and returns when it is resumed.
    func park() {
        turn = .parked
        caller.give()
        baton.take()
    }

    /// Called on the fiber: hands the baton back for ever.
    func abandon() -> Never {
        turn = .abandoned
        caller.give()
        while true { baton.take() }
    }

    /// Ends the thread; call it when it is idle.
    func end() {
        isEnding = true
        baton.give()
    }
}

/// What a fiber runs: a loop, which must not wait, or background work.
enum FiberRole: Equatable { case loop, background }
