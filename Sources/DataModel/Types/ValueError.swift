/// Why bytes or text are no value of a type. The text is Cassandra's where Cassandra has one.
public enum ValueError: Error, Sendable, Equatable {
    case invalid(String)

    public var message: String {
        switch self {
        case .invalid(let message): message
        }
    }

    /// As a client sees it.
    public var serverError: ServerError { .invalid(message) }
}
