import DataModel
import NativeProtocol

/// What a client could not do.
public enum ClientError: Error, Sendable, Equatable {
    /// No connection: the address, and what the system said.
    case connect(address: String, reason: String)
    /// The connection ended while it was needed.
    case closed(address: String, reason: String)
    /// Nothing arrived for this long.
    case timeout(address: String, after: Duration)
    /// The connection cannot be encrypted.
    case encryption(address: String, reason: String)
    /// What arrived is not the protocol.
    case protocolViolation(String)
    /// The server answered with an error.
    case server(ServerError)

    /// What happened and what to do about it.
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
