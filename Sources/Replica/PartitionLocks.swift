import DataModel
import Messages
import Platform
import Primitives
import Synchronization

/// Locks of partitions that may be held over a wait: a fiber that waits for one leaves its loop free.
///
/// A partition's lock is one of 1,024, shared with all partitions of the same hash. It goes to those that wait in their order.
///
/// **Thread safety**: all methods, from any thread.
final class PartitionLocks: Sendable {
    private struct State {
        var isHeld = false
        /// Each resumes one that waits, which then holds the lock.
        var waiting: [@Sendable () -> Void] = []
    }

    private final class Lock: Sendable {
        let state = Mutex(State())
    }

    private let locks: [Lock]
    private let background: any Background

    init(background: any Background) {
        self.background = background
        locks = (0..<1024).map { _ in Lock() }
    }

    /// Runs `body` while no other call holds the lock of the partition; waits for it, on a fiber or on a background thread.
    func withLock<R>(
        table: UUID, partition: UnsafeRawBufferPointer, _ body: () throws(ReplicaError) -> R
    ) throws(ReplicaError) -> R {
        let lock = locks[Int(truncatingIfNeeded: Checksum.xxh3(partition, seed: table.low) & 1023)]
        acquire(lock)
        defer { release(lock) }
        return try body()
    }

    private func acquire(_ lock: Lock) {
        let isFree = lock.state.withLock { state in
            if state.isHeld { return false }
            state.isHeld = true
            return true
        }
        if isFree { return }
        background.wait { resume in
            let isMine = lock.state.withLock { state in
                if state.isHeld {
                    state.waiting.append(resume)
                    return false
                }
                state.isHeld = true
                return true
            }
            if isMine { resume() }
        }
    }

    private func release(_ lock: Lock) {
        let next: (@Sendable () -> Void)? = lock.state.withLock { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.isHeld = false
            return nil
        }
        next?()
    }
}
