import Query
import Synchronization

/// Admission control for client requests: limits how many wait for a disk, other nodes or a lock, and the bytes of
/// those requests.
///
/// **Thread safety**: all methods, from any thread.
final class AdmissionController: MemoryBudget {
    /// The maximum number of waiting requests.
    static let requestLimit = 4096

    /// The bytes in use, and the number of waiting requests above them: one word, so that one change counts both.
    private let used = Atomic<Int>(0)
    private static let oneRequest = 1 << 44
    private let byteLimit: Int

    /// - Parameter byteLimit: `native_transport_max_request_data_in_flight`.
    init(byteLimit: Int) { self.byteLimit = min(byteLimit, AdmissionController.oneRequest / 2) }

    private static func bytes(_ used: Int) -> Int { used & (oneRequest - 1) }

    /// Whether a request of this size may begin. If no bytes are in use, any size may.
    @inline(__always) func admits(bytes count: Int) -> Bool {
        let used = used.load(ordering: .relaxed)
        let present = AdmissionController.bytes(used)
        return used < AdmissionController.requestLimit * AdmissionController.oneRequest
            && (present + count <= byteLimit || present == 0)
    }

    /// Counts a request that has begun to wait.
    func enter(bytes count: Int) { used.add(AdmissionController.oneRequest + count, ordering: .relaxed) }

    func leave(bytes count: Int) { used.subtract(AdmissionController.oneRequest + count, ordering: .relaxed) }

    /// Reserves memory for an answer; a single answer may exceed the limit.
    func reserve(_ count: Int) -> Bool {
        let present = AdmissionController.bytes(used.add(count, ordering: .relaxed).newValue)
        if present <= byteLimit || present == count { return true }
        used.subtract(count, ordering: .relaxed)
        return false
    }

    func release(_ count: Int) { used.subtract(count, ordering: .relaxed) }

    /// The bytes of waiting requests and of answers that have not been sent.
    var bytesInUse: Int { AdmissionController.bytes(used.load(ordering: .relaxed)) }

    /// The number of waiting requests.
    var waiting: Int { used.load(ordering: .sequentiallyConsistent) / AdmissionController.oneRequest }
}
