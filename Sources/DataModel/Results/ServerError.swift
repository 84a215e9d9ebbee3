import Primitives

/// An error for the client: an error code of the native protocol, a message, and the code's additional fields
/// (native_protocol_v4.spec, section 9).
public struct ServerError: Error, Sendable, Equatable {
    /// The error codes of the native protocol; do not change.
    public enum Code: Int32, Sendable {
        case serverError = 0x0000
        case protocolError = 0x000A
        case badCredentials = 0x0100
        case unavailable = 0x1000
        case overloaded = 0x1001
        case isBootstrapping = 0x1002
        case truncateError = 0x1003
        case writeTimeout = 0x1100
        case readTimeout = 0x1200
        case readFailure = 0x1300
        case functionFailure = 0x1400
        case writeFailure = 0x1500
        case syntaxError = 0x2000
        case unauthorized = 0x2100
        case invalid = 0x2200
        case configError = 0x2300
        case alreadyExists = 0x2400
        case unprepared = 0x2500

        /// The name the line protocol prints.
        public var name: String {
            switch self {
            case .serverError: "ServerError"
            case .protocolError: "ProtocolError"
            case .badCredentials: "BadCredentials"
            case .unavailable: "Unavailable"
            case .overloaded: "Overloaded"
            case .isBootstrapping: "IsBootstrapping"
            case .truncateError: "TruncateError"
            case .writeTimeout: "WriteTimeout"
            case .readTimeout: "ReadTimeout"
            case .readFailure: "ReadFailure"
            case .functionFailure: "FunctionFailure"
            case .writeFailure: "WriteFailure"
            case .syntaxError: "SyntaxError"
            case .unauthorized: "Unauthorized"
            case .invalid: "Invalid"
            case .configError: "ConfigError"
            case .alreadyExists: "AlreadyExists"
            case .unprepared: "Unprepared"
            }
        }
    }

    /// The additional fields of some codes.
    public enum Detail: Sendable, Equatable {
        case none
        case unavailable(consistency: Consistency, required: Int32, alive: Int32)
        case writeTimeout(consistency: Consistency, received: Int32, required: Int32, writeType: String)
        case readTimeout(consistency: Consistency, received: Int32, required: Int32, dataPresent: Bool)
        case readFailure(consistency: Consistency, received: Int32, required: Int32, failures: Int32, dataPresent: Bool)
        case writeFailure(
            consistency: Consistency, received: Int32, required: Int32, failures: Int32, writeType: String)
        case functionFailure(keyspace: String, function: String, argumentTypes: [String])
        case alreadyExists(keyspace: String, table: String)
        case unprepared(id: [UInt8])
    }

    public var code: Code
    public var message: String
    public var detail: Detail

    public init(_ code: Code, _ message: String, detail: Detail = .none) {
        self.code = code
        self.message = message
        self.detail = detail
    }

    public static func invalid(_ message: String) -> ServerError { ServerError(.invalid, message) }
    public static func unknownTable(_ id: UUID) -> ServerError { invalid("table \(id) does not exist any more") }
    public static func syntax(_ message: String) -> ServerError { ServerError(.syntaxError, message) }
}
