import DataModel

/// The memory that requests and answers of a node may use together.
///
/// **Thread safety**: all methods, from any thread.
public protocol MemoryBudget: AnyObject, Sendable {
    /// Reserves memory.
    /// - Returns: false, with nothing reserved, when the budget is used up.
    func reserve(_ bytes: Int) -> Bool
    func release(_ bytes: Int)
}

/// The memory of one request's answer, reserved as the answer grows.
///
/// A small answer reserves nothing, so that most requests do not touch what all loops share.
///
/// **Thread safety**: one request at a time.
final class MemoryAccount {
    private let budget: (any MemoryBudget)?
    private(set) var reserved = 0

    /// Bytes of an answer that need no reservation, and by which a reservation grows.
    static let step = 64 << 10

    init(budget: (any MemoryBudget)?) { self.budget = budget }

    /// Reserves more when an answer of `bytes` needs it.
    /// - Throws: Overloaded when the budget is used up.
    @inline(__always) func grow(to bytes: Int) throws(ServerError) {
        if bytes > reserved + MemoryAccount.step { try reserve(bytes) }
    }

    @inline(never) private func reserve(_ bytes: Int) throws(ServerError) {
        guard let budget else { return }
        // Large answers grow by a quarter at a time.
        let more = max(MemoryAccount.step, bytes - reserved, reserved / 4)
        guard budget.reserve(more) else {
            throw ServerError(
                .overloaded,
                "the node's memory for requests and answers is used up (native_transport_max_request_data_in_flight); read smaller pages, "
                    + "or try again later")
        }
        reserved += more
    }

    /// Hands the reservation over to whoever keeps the answer from now on, who releases it.
    func take() -> Int {
        defer { reserved = 0 }
        return reserved
    }

    /// Releases the reservation: the request has failed, or its answer is gone.
    func releaseAll() {
        if reserved == 0 { return }
        budget?.release(take())
    }
}
