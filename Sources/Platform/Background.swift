import Synchronization

/// Runs work that may wait and take long, off the request path.
public protocol Background: Sendable {
    /// Runs `work` some time soon, on another thread than the caller's.
    func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void)
    /// Lets the calling background thread, or the fiber that runs here, wait.
    func sleep(nanoseconds: UInt64)
    /// Lets the calling background thread, or the fiber that runs here, wait until somebody calls `resume`, perhaps before `register` has returned. No lock
    /// may be held meanwhile.
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

/// Set once, by any thread.
private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

/// Kinds of background work; each has threads of its own, so that one does not wait for another.
public enum BackgroundKind: Int, Sendable, CaseIterable {
    /// `read` is for requests that wait for a disk. `control` is for what the node does for itself and waits long for: joining, schema, hints.
    case flush, compaction, read, sync, control
}

/// Runs everything at once in the caller: for tests and tools that want one thread.
public struct InlineBackground: Background {
    public init() {}
    public func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) { work() }
    public func sleep(nanoseconds: UInt64) {}
}
