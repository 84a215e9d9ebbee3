import DataModel
import Messages

/// Errors for clients when replicas are missing, late or failing: the native protocol's errors with their counts.
enum CoordinatorErrors {
    static func unavailable(_ consistency: Consistency, required: Int, alive: Int) -> ServerError {
        ServerError(
            .unavailable, "Cannot achieve consistency level \(consistency.name)",
            detail: .unavailable(consistency: consistency, required: Int32(required), alive: Int32(alive)))
    }

    static func writeTimeout(_ consistency: Consistency, _ type: WriteType, received: Int, required: Int) -> ServerError
    {
        // Enough answers can still be too late when they come from the wrong data center. Drivers expect fewer than
        // required.
        let shown = received >= required ? required - 1 : received
        return ServerError(
            .writeTimeout, "Operation timed out - received only \(shown) responses.",
            detail: .writeTimeout(
                consistency: consistency, received: Int32(shown), required: Int32(required), writeType: type.rawValue))
    }

    static func writeFailure(
        _ consistency: Consistency, _ type: WriteType, received: Int, required: Int, failures: Int
    ) -> ServerError {
        ServerError(
            .writeFailure, "Operation failed - received \(received) responses and \(failures) failures",
            detail: .writeFailure(
                consistency: consistency, received: Int32(received), required: Int32(required),
                failures: Int32(failures),
                writeType: type.rawValue))
    }

    static func readTimeout(_ consistency: Consistency, received: Int, required: Int, hasData: Bool) -> ServerError {
        ServerError(
            .readTimeout, "Operation timed out - received only \(received) responses.",
            detail: .readTimeout(
                consistency: consistency, received: Int32(received), required: Int32(required), dataPresent: hasData))
    }

    static func readFailure(
        _ consistency: Consistency, received: Int, required: Int, failures: Int, hasData: Bool, why: String
    ) -> ServerError {
        ServerError(
            .readFailure, "Operation failed - received \(received) responses and \(failures) failures: \(why)",
            detail: .readFailure(
                consistency: consistency, received: Int32(received), required: Int32(required),
                failures: Int32(failures),
                dataPresent: hasData))
    }
}

extension ServerError {
    /// The same error for a read: a serial read must not report its Paxos rounds as a write.
    var asReadError: ServerError {
        var error = self
        switch detail {
        case .writeTimeout(let consistency, let received, let required, _):
            error.code = .readTimeout
            error.message = "Operation timed out - received only \(received) responses."
            error.detail = .readTimeout(
                consistency: consistency, received: received, required: required, dataPresent: false)
        case .writeFailure(let consistency, let received, let required, let failures, _):
            error.code = .readFailure
            error.detail = .readFailure(
                consistency: consistency, received: received, required: required, failures: failures, dataPresent: false
            )
        default: break
        }
        return error
    }
}
