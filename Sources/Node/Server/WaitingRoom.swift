import Platform
import Synchronization

/// How many requests, of how many bytes, wait for the I/O pool or run on it: the node's limit, beyond which it sheds.
///
/// **Thread safety**: all methods, from any thread.
final class WaitingRoom: Sendable {
    /// Requests at once.
    static let requestLimit = 4096

    private let requests = Atomic<Int>(0)
    private let bytes = Atomic<Int>(0)
    private let byteLimit: Int
    private let turnTimeoutNanoseconds: UInt64
    private let time: any TimeSource

    /// - Parameter turnTimeout: a request that waited longer is not begun any more; its client has given up.
    init(byteLimit: Int, turnTimeout: Duration, time: any TimeSource) {
        self.byteLimit = byteLimit
        self.time = time
        let (seconds, attoseconds) = turnTimeout.components
        turnTimeoutNanoseconds = UInt64(max(0, seconds)) &* 1_000_000_000 &+ UInt64(max(0, attoseconds) / 1_000_000_000)
    }

    /// Lets a request in; a single one however large it is.
    /// - Returns: when it must have its turn, in monotonic nanoseconds; nil when there is no room.
    func enter(bytes count: Int) -> UInt64? {
        let present = bytes.add(count, ordering: .relaxed).newValue
        let fits = present <= byteLimit || present == count
        if requests.add(1, ordering: .relaxed).newValue <= WaitingRoom.requestLimit && fits {
            return time.monotonicNanoseconds() &+ turnTimeoutNanoseconds
        }
        leave(bytes: count)
        return nil
    }

    /// Whether nothing waits or runs.
    var isEmpty: Bool { requests.load(ordering: .sequentiallyConsistent) == 0 }

    func leave(bytes count: Int) {
        requests.subtract(1, ordering: .relaxed)
        bytes.subtract(count, ordering: .relaxed)
    }

    /// Whether a request whose turn has come waited too long.
    func isTooLate(_ deadline: UInt64) -> Bool { time.monotonicNanoseconds() > deadline }
}
