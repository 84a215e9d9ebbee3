import CLinux
import Glibc
import Platform
import Synchronization

/// Thread pools for background work: one per kind, with threads started on demand.
///
/// **Thread safety**: `run` from any thread. `stop` waits for running work and drops queued work.
public final class ThreadPools: Background {
    private final class Pool: @unchecked Sendable {
        // SAFETY: `queue`, `head`, `idle`, `threads` and `stopping` are accessed only with `monitor` held.
        private let monitor = Monitor()
        private var queue: [@Sendable () -> Void] = []
        private var head = 0
        private var idle = 0
        private var threads = 0
        private var stopping = false
        private let limit: Int
        private let name: String

        init(limit: Int, name: String) {
            self.limit = limit
            self.name = name
        }

        func submit(_ work: @escaping @Sendable () -> Void) {
            monitor.lock()
            if stopping {
                monitor.unlock()
                return
            }
            queue.append(work)
            let waiting = queue.count - head
            let start = idle < waiting && threads < limit
            if start { threads += 1 }
            monitor.wakeOne()
            monitor.unlock()
            if start { startThread() }
        }

        private func startThread() {
            var thread = pthread_t()
            let context = Unmanaged.passRetained(self).toOpaque()
            let failed = pthread_create(
                &thread, nil,
                { raw in
                    // Passed below, never null.
                    let pool = Unmanaged<Pool>.fromOpaque(raw.unsafelyUnwrapped).takeRetainedValue()
                    auspex_name_thread(pool.name)
                    pool.loop()
                    return nil
                }, context)
            if failed == 0 {
                pthread_detach(thread)
            } else {
                Unmanaged<Pool>.fromOpaque(context).release()
                monitor.lock()
                threads -= 1
                monitor.unlock()
            }
        }

        private func loop() {
            monitor.lock()
            while true {
                while head == queue.count && !stopping {
                    idle += 1
                    monitor.wait()
                    idle -= 1
                }
                if stopping { break }
                let work = queue[head]
                queue[head] = {}
                head += 1
                if head == queue.count {
                    queue.removeAll(keepingCapacity: true)
                    head = 0
                } else if head >= 1024 && head * 2 >= queue.count {
                    // A queue that never becomes empty must not keep finished entries.
                    queue.removeFirst(head)
                    head = 0
                }
                monitor.unlock()
                work()
                monitor.lock()
            }
            threads -= 1
            monitor.wakeAll()
            monitor.unlock()
        }

        func stop() {
            monitor.lock()
            stopping = true
            queue.removeAll()
            head = 0
            monitor.wakeAll()
            while threads > 0 { monitor.wait() }
            monitor.unlock()
        }
    }

    private let pools: [Pool]

    /// - Parameters:
    ///   - flush: threads that write memtables to sstables.
    ///   - compaction: threads that merge sstables.
    ///   - read: threads for requests that wait for the disk.
    public init(flush: Int = 1, compaction: Int = 1, read: Int = 8) {
        pools = [
            Pool(limit: max(1, flush), name: "flush"), Pool(limit: max(1, compaction), name: "compaction"),
            Pool(limit: max(1, read), name: "read"), Pool(limit: 4, name: "sync"), Pool(limit: 16, name: "control"),
        ]
    }

    public func run(_ kind: BackgroundKind, _ work: @escaping @Sendable () -> Void) {
        pools[kind.rawValue].submit(work)
    }

    public func sleep(nanoseconds: UInt64) {
        if let fiber = Fiber.current { return fiber.sleep(nanoseconds: nanoseconds) }
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        var rest = timespec()
        while nanosleep(&time, &rest) != 0 && errno == EINTR { time = rest }
    }

    public func stop() { for pool in pools { pool.stop() } }
}
