/// Runs work that may wait and take long, off the request path.
public protocol Background: Sendable {
    /// Runs `work` some time soon, on another thread than the caller's.
    func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void)
    /// Lets the calling background thread wait.
    func sleep(nanoseconds: UInt64)
}

/// Kinds of background work; each has threads of its own, so that one does not wait for another.
public enum BackgroundKind: Int, Sendable, CaseIterable {
    /// `read` is for clients' requests, which may wait for other nodes; `replica` for what those nodes ask, which waits for a disk only: were they
    /// one, nodes could wait for each other's threads.
    case flush, compaction, read, sync, replica
}

/// Runs everything at once in the caller: for tests and tools that want one thread.
public struct InlineBackground: Background {
    public init() {}
    public func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) { work() }
    public func sleep(nanoseconds: UInt64) {}
}
