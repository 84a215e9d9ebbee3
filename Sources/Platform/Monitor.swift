import Glibc

/// A mutex with a condition on which its holders wait.
///
/// **Thread safety**: all methods, from any thread. `wait` only with the mutex held.
/// SAFETY: `@unchecked` because both pointers are set once and used by pthread functions only.
public struct Monitor: ~Copyable, @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

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

    public func lock() { pthread_mutex_lock(mutex) }
    public func unlock() { pthread_mutex_unlock(mutex) }
    /// Releases the mutex, waits for `wakeOne` or `wakeAll`, and takes the mutex again. May return without either.
    public func wait() { pthread_cond_wait(condition, mutex) }
    public func wakeOne() { pthread_cond_signal(condition) }
    public func wakeAll() { pthread_cond_broadcast(condition) }

    public func withLock<R>(_ body: () -> R) -> R {
        lock()
        defer { unlock() }
        return body()
    }
}
