import Glibc

/// Threads of a tool: each runs the same body with its own number.
public enum WorkerThreads {
    /// What a new thread is handed.
    private final class Start: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body(0)` to `body(count - 1)` at the same time and returns when all have returned.
    public static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let handles = (0..<count).map { index in start { body(index) } }
        for handle in handles { pthread_join(handle, nil) }
    }

    /// Starts one thread; its handle is for `join`.
    static func start(_ body: @escaping @Sendable () -> Void) -> pthread_t {
        var handle = pthread_t()
        // SAFETY: the new thread takes over the reference that passRetained made.
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

    /// A thread that runs beside its maker.
    public struct Background: Sendable {
        private let handle: pthread_t

        public init(_ body: @escaping @Sendable () -> Void) { handle = WorkerThreads.start(body) }

        public func join() { pthread_join(handle, nil) }
    }

    /// Sleeps this thread.
    public static func sleep(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        var rest = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
        var left = timespec()
        while nanosleep(&rest, &left) != 0 && errno == EINTR { rest = left }
    }

    /// Nanoseconds of a clock that never goes back.
    @inline(__always) public static func nanoseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }
}
