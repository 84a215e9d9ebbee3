import Glibc

/// Runs the threads of a tool. Each thread runs the same body with its own number.
public enum WorkerThreads {
    /// The body of a new thread.
    private final class Start: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body(0)` to `body(count - 1)` concurrently and returns when all have returned.
    public static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let handles = (0..<count).map { index in start { body(index) } }
        for handle in handles { pthread_join(handle, nil) }
    }

    /// Starts a thread; pass its handle to `pthread_join`.
    static func start(_ body: @escaping @Sendable () -> Void) -> pthread_t {
        var handle = pthread_t()
        // SAFETY: the new thread consumes the reference that passRetained made.
        let argument = Unmanaged.passRetained(Start(body)).toOpaque()
        let status = pthread_create(
            &handle, nil,
            { argument in
                if let argument { Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, argument)
        precondition(status == 0, "pthread_create: \(systemMessage(status))")
        return handle
    }

    /// A thread that runs concurrently with its creator.
    public struct Background: Sendable {
        private let handle: pthread_t

        public init(_ body: @escaping @Sendable () -> Void) { handle = WorkerThreads.start(body) }

        public func join() { pthread_join(handle, nil) }
    }

    /// Suspends this thread.
    public static func sleep(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        var rest = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
        var left = timespec()
        while nanosleep(&rest, &left) != 0 && errno == EINTR { rest = left }
    }

    /// Returns the monotonic clock in nanoseconds.
    @inline(__always) public static func nanoseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }
}
