import Query
import Synchronization

/// Admission control for client requests: limits how many wait for a disk, other nodes or a lock, and the bytes of
/// those requests.
///
/// **Thread safety**: all methods, from any thread.
final class AdmissionController: MemoryBudget {
    /// The maximum number of waiting requests.
    static let requestLimit = 4096

    private let requests = Atomic<Int>(0)
    private let bytes = Atomic<Int>(0)
    private let byteLimit: Int

    /// - Parameter byteLimit: `native_transport_max_request_data_in_flight`.
    init(byteLimit: Int) { self.byteLimit = byteLimit }

    /// Whether a request of this size may begin. If no bytes are in use, any size may.
    @inline(__always) func admits(bytes count: Int) -> Bool {
        let (present, waiting) = (bytes.load(ordering: .relaxed), requests.load(ordering: .relaxed))
        return waiting < AdmissionController.requestLimit && (present + count <= byteLimit || present == 0)
    }

    /// Counts a request that has begun to wait.
    func enter(bytes count: Int) {
        requests.add(1, ordering: .relaxed)
        bytes.add(count, ordering: .relaxed)
    }

    func leave(bytes count: Int) {
        requests.subtract(1, ordering: .relaxed)
        bytes.subtract(count, ordering: .relaxed)
    }

    /// Reserves memory for an answer; a single answer may exceed the limit.
    func reserve(_ count: Int) -> Bool {
        let present = bytes.add(count, ordering: .relaxed).newValue
        if present <= byteLimit || present == count { return true }
        bytes.subtract(count, ordering: .relaxed)
        return false
    }

    func release(_ count: Int) { bytes.subtract(count, ordering: .relaxed) }

    /// The bytes of waiting requests and of answers that have not been sent.
    var bytesInUse: Int { bytes.load(ordering: .relaxed) }

    /// The number of waiting requests.
    var waiting: Int { requests.load(ordering: .sequentiallyConsistent) }
}
