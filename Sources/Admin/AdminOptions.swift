import Client

/// The options of an admin command.
public struct AdminOptions: Sendable {
    public var command: String
    /// The command's arguments, by name.
    public var arguments: [(name: String, value: String)] = []
    public var host = "127.0.0.1"
    public var port: UInt16 = 9180
    /// The timeout of the command.
    public var timeout: Duration = .seconds(3600)
    /// Whether to return the node's JSON unchanged instead of tables.
    public var isJSON = false

    public init(command: String) { self.command = command }
}

/// Why a command failed.
public enum AdminError: Error, Sendable, Equatable {
    case client(ClientError)
    /// The node refused it: the HTTP status, and the reason.
    case refused(status: Int, reason: String)
    /// The server that answered is not a node of this project.
    case notANode(String)

    public var message: String {
        switch self {
        case .client(let error): error.message
        case .refused(_, let reason): reason
        case .notANode(let what): "\(what); is --port the node's HTTP port?"
        }
    }
}
