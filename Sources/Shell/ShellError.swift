import Client
import DataModel

/// Why a statement or a command failed.
enum ShellError: Error {
    case client(ClientError)
    /// The command is invalid, or a file cannot be used.
    case command(String)

    /// The message in cqlsh's form: the driver's exception, the code, its name, the message.
    var text: String {
        switch self {
        case .command(let text): return text
        case .client(.server(let error)):
            let (exception, name) = ShellError.names(error.code)
            let digits = String(error.code.rawValue, radix: 16, uppercase: true)
            let code = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            return "\(exception): Error from server: code=\(code) [\(name)] message=\"\(error.message)\""
        case .client(let error): return error.message
        }
    }

    private static func names(_ code: ServerError.Code) -> (exception: String, name: String) {
        switch code {
        case .serverError: ("ServerError", "Server error")
        case .protocolError: ("ProtocolException", "Protocol error")
        case .badCredentials: ("AuthenticationFailed", "Bad credentials")
        case .unavailable: ("Unavailable", "Unavailable exception")
        case .overloaded: ("OverloadedErrorMessage", "Coordinator node overloaded")
        case .isBootstrapping: ("IsBootstrappingErrorMessage", "Coordinator node is bootstrapping")
        case .truncateError: ("TruncateError", "Error during truncate")
        case .writeTimeout: ("WriteTimeout", "Coordinator node timed out waiting for replica nodes' responses")
        case .readTimeout: ("ReadTimeout", "Coordinator node timed out waiting for replica nodes' responses")
        case .readFailure: ("ReadFailure", "Replica(s) failed to execute read")
        case .functionFailure: ("FunctionFailure", "User Defined Function failure")
        case .writeFailure: ("WriteFailure", "Replica(s) failed to execute write")
        case .syntaxError: ("SyntaxException", "Syntax error in CQL query")
        case .unauthorized: ("Unauthorized", "Unauthorized")
        case .invalid: ("InvalidRequest", "Invalid query")
        case .configError: ("ConfigurationException", "Query invalid because of configuration issue")
        case .alreadyExists: ("AlreadyExists", "Item already exists")
        case .unprepared: ("PreparedQueryNotFound", "Prepared query not found")
        }
    }
}
