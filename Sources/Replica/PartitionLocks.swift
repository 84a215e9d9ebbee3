import DataModel
import Messages
import Platform
import Primitives
import Synchronization

/// Locks on partitions that may be held while a fiber waits. A fiber that waits for one does not block its loop.
///
/// A partition's lock is one of 1,024, chosen by hash and so shared with other partitions. Waiters get it in order.
///
/// **Thread safety**: all methods, from any thread.
final class PartitionLocks: Sendable {
    private struct State {
        var isHeld = false
        /// The waiters, in order; calling one resumes it as the holder of the lock.
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

    /// Runs `body` while holding the partition's lock. Waits for the lock on the calling fiber or thread.
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
