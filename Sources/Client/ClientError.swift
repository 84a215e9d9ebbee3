import DataModel
import NativeProtocol

/// Why a client operation failed.
public enum ClientError: Error, Sendable, Equatable {
    /// The connection could not be opened: the address, and the system's reason.
    case connect(address: String, reason: String)
    /// The connection ended while it was in use.
    case closed(address: String, reason: String)
    /// No data arrived for this long.
    case timeout(address: String, after: Duration)
    /// The connection cannot be encrypted.
    case encryption(address: String, reason: String)
    /// The data received violates the protocol.
    case protocolViolation(String)
    /// The server replied with an error.
    case server(ServerError)

    /// The message for people: what happened and what to do about it.
    public var message: String {
        switch self {
        case .connect(let address, let reason): "cannot connect to \(address): \(reason); is a server listening there?"
        case .closed(let address, let reason): "the connection to \(address) ended: \(reason)"
        case .encryption(let address, let reason): "no TLS connection to \(address): \(reason)"
        case .timeout(let address, let after): "no answer from \(address) within \(after.components.seconds) s"
        case .protocolViolation(let what): "the server's answer cannot be read: \(what)"
        case .server(let error): "\(error.code.name): \(error.message)"
        }
    }
}
