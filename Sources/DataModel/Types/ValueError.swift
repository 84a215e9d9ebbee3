/// Why bytes or text are not a value of a type; with Cassandra's message where it has one.
public enum ValueError: Error, Sendable, Equatable {
    case invalid(String)

    public var message: String {
        switch self {
        case .invalid(let message): message
        }
    }

    /// The error for the client.
    public var serverError: ServerError { .invalid(message) }
}
