/// Lets one of several threads do work that all of them wait for, and wakes the others together when it is done.
///
/// A mutex would pass from one waiter to the next with a wake-up each; with 32 writers that chain takes longer than the
/// sync they wait for.
///
/// **Thread safety**: all methods, from any thread.
/// SAFETY: `@unchecked` because `isTaken` is accessed only with `monitor` held.
public final class SharedTurn: @unchecked Sendable {
    private let monitor = Monitor()
    private var isTaken = false

    public init() {}

    /// Waits for the turn, or until the work is done.
    /// - Parameter isDone: called before waiting and whenever a turn ends.
    /// - Returns: true when the caller has the turn and must call `leave`; false when the work is done.
    public func take(unless isDone: () -> Bool) -> Bool {
        monitor.withLock {
            while true {
                if isDone() { return false }
                if !isTaken {
                    isTaken = true
                    return true
                }
                monitor.wait()
            }
        }
    }

    /// Waits until `isDone` returns true; it is called before waiting and at every `wake`.
    func wait(until isDone: () -> Bool) {
        monitor.withLock {
            while !isDone() { monitor.wait() }
        }
    }

    func wake() { monitor.withLock { monitor.wakeAll() } }

    public func leave() {
        monitor.withLock {
            isTaken = false
            monitor.wakeAll()
        }
    }
}
