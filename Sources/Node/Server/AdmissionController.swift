import Query
import Synchronization

/// Decides whether a request may begin: limits how many requests of clients wait for a disk, other nodes or a lock, and the memory of those and of
/// answers that have not been sent.
///
/// **Thread safety**: all methods, from any thread.
final class AdmissionController: MemoryBudget {
    /// Requests that may wait at once.
    static let requestLimit = 4096

    private let requests = Atomic<Int>(0)
    private let bytes = Atomic<Int>(0)
    private let byteLimit: Int

    /// - Parameter byteLimit: `native_transport_max_request_data_in_flight`.
    init(byteLimit: Int) { self.byteLimit = byteLimit }

    /// Whether another request of so many bytes may begin; a single one however large it is.
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

    /// Reserves memory for an answer; a single one however large it is.
    func reserve(_ count: Int) -> Bool {
        let present = bytes.add(count, ordering: .relaxed).newValue
        if present <= byteLimit || present == count { return true }
        bytes.subtract(count, ordering: .relaxed)
        return false
    }

    func release(_ count: Int) { bytes.subtract(count, ordering: .relaxed) }

    /// Bytes of requests that wait, and of answers that have not been sent.
    var bytesInUse: Int { bytes.load(ordering: .relaxed) }

    /// Requests that wait now.
    var waiting: Int { requests.load(ordering: .sequentiallyConsistent) }
}
