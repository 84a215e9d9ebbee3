import Synchronization

/// Runs long or waiting work off the request path.
public protocol Background: Sendable {
    /// Runs `work` soon, on a thread other than the caller's.
    func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void)
    /// Pauses the calling fiber, or the calling background thread.
    func sleep(nanoseconds: UInt64)
    /// Makes the calling fiber, or the calling background thread, wait until `resume` is called, possibly before
    /// `register` has returned. No lock may be held meanwhile.
    func wait(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void)
}

extension Background {
    public func wait(_ register: (_ resume: @escaping @Sendable () -> Void) -> Void) {
        if let fiber = Fiber.current { return fiber.wait(register) }
        let gate = SharedTurn()
        let isOpen = Flag()
        register {
            isOpen.set()
            gate.wake()
        }
        gate.wait(until: { isOpen.isSet })
    }
}

/// A flag that any thread may set once.
private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

/// The kinds of background work. Each has its own threads, so that one kind does not delay another.
public enum BackgroundKind: Int, Sendable, CaseIterable {
    /// `read`: for requests that wait for a disk. `control`: long waits of the node itself, such as joining, schema
    /// changes and hints.
    case flush, compaction, read, sync, control
}

/// Runs all work at once in the caller, for single-threaded tests and tools.
public struct InlineBackground: Background {
    public init() {}
    public func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) { work() }
    public func sleep(nanoseconds: UInt64) {}
}
