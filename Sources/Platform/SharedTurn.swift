#if canImport(Glibc)
    import Glibc
#endif

/// Lets one of several threads do work that all of them wait for, and wakes the others together when it is done.
///
/// A mutex would pass from one waiter to the next with a wake-up each; with 32 writers that chain takes longer than the
/// sync they wait for.
///
/// **Thread safety**: all methods, from any thread.
/// SAFETY: `@unchecked` because `isTaken` is accessed only with `mutex` held.
public final class SharedTurn: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isTaken = false

    public init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Waits for the turn, or until the work is done.
    /// - Parameter isDone: called before waiting and whenever a turn ends.
    /// - Returns: true when the caller has the turn and must call `leave`; false when the work is done.
    public func take(unless isDone: () -> Bool) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if isDone() { return false }
            if !isTaken {
                isTaken = true
                return true
            }
            pthread_cond_wait(condition, mutex)
        }
    }

    /// Waits until `isDone` returns true; it is called before waiting and at every `wake`.
    func wait(until isDone: () -> Bool) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !isDone() { pthread_cond_wait(condition, mutex) }
    }

    func wake() {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }

    public func leave() {
        pthread_mutex_lock(mutex)
        isTaken = false
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }
}
