import Client

/// A command for a running node.
public struct AdminOptions: Sendable {
    public var command: String
    /// The command's arguments, by name.
    public var arguments: [(name: String, value: String)] = []
    public var host = "127.0.0.1"
    public var port: UInt16 = 9180
    /// How long the command may take.
    public var timeout: Duration = .seconds(3600)
    /// The answer as the node gave it, instead of tables.
    public var isJSON = false

    public init(command: String) { self.command = command }
}

/// A command that failed.
public enum AdminError: Error, Sendable, Equatable {
    case client(ClientError)
    /// The node refused it: the status of HTTP, and why.
    case refused(status: Int, reason: String)
    /// What answers is no node of this project.
    case notANode(String)

    public var message: String {
        switch self {
        case .client(let error): error.message
        case .refused(_, let reason): reason
        case .notANode(let what): "\(what); is --port the node's HTTP port?"
        }
    }
}
