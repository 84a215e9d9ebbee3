/// Whether a connection is encrypted, and with which certificates.
public enum Encryption: Sendable, Equatable {
    /// No encryption.
    case none
    /// TLS only.
    case required(Realm)
    /// TLS or plain bytes, as the other end begins; only for accepted connections.
    case optional(Realm)

    /// The use of a connection; each realm may have its own certificates.
    public enum Realm: Sendable { case clients, nodes }
}

/// The reason why a connection that should be encrypted is not.
public struct EncryptionFailure: Sendable, Equatable {
    /// What is wrong and how to fix it.
    public var reason: String
    /// Whether the other end sent plain bytes, so that it can be told the reason in its protocol.
    public var otherIsPlain: Bool

    public init(_ reason: String, otherIsPlain: Bool) {
        self.reason = reason
        self.otherIsPlain = otherIsPlain
    }
}

/// The first byte of a connection, which identifies TLS.
public enum FirstByte {
    /// The first byte of every TLS connection: a handshake record. No frame of the native protocol, no internode frame
    /// of a sensible length, and no text begins with it.
    public static let tls: UInt8 = 0x16
}

extension ConnectionHandler {
    public func encryptionFailed(_ failure: EncryptionFailure) {}
}

extension Network {
    /// A network without encryption rejects it.
    public func listen(
        host: String, port: Int, encryption: Encryption, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener {
        guard encryption == .none else {
            throw NetworkError("connections to \(host):\(port) cannot be encrypted by this network")
        }
        return try listen(host: host, port: port, acknowledgement: acknowledgement, makeHandler)
    }

    public func connect(
        host: String, port: Int, loop: Int, encryption: Encryption,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) {
        precondition(encryption == .none, "this network does not support encryption")
        connect(host: host, port: port, loop: loop, makeHandler)
    }
}
