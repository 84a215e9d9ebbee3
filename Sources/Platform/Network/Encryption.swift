/// Whether what goes over a connection is encrypted, and with whose certificates.
public enum Encryption: Sendable, Equatable {
    /// Bytes go as they are.
    case none
    /// TLS, and nothing else.
    case required(Realm)
    /// TLS or plain bytes, as the other end begins; only where connections are accepted.
    case optional(Realm)

    /// Between whom: each realm may have certificates of its own.
    public enum Realm: Sendable { case clients, nodes }
}

/// Why a connection that should be encrypted is not.
public struct EncryptionFailure: Sendable, Equatable {
    /// What is wrong and what to do about it.
    public var reason: String
    /// Whether the other end began with plain bytes: it can be told why in the words of its protocol.
    public var otherIsPlain: Bool

    public init(_ reason: String, otherIsPlain: Bool) {
        self.reason = reason
        self.otherIsPlain = otherIsPlain
    }
}

/// How a connection begins, told from its first byte.
public enum FirstByte {
    /// What every TLS connection begins with: a record of its handshake. Neither a frame of the native protocol, nor a frame between nodes of a
    /// sensible length, nor text begins so.
    public static let tls: UInt8 = 0x16
}

extension ConnectionHandler {
    public func encryptionFailed(_ failure: EncryptionFailure) {}
}

extension Network {
    /// A network that knows no encryption refuses it.
    public func listen(
        host: String, port: Int, encryption: Encryption, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener {
        guard encryption == .none else { throw NetworkError("connections to \(host):\(port) cannot be encrypted by this network") }
        return try listen(host: host, port: port, acknowledgement: acknowledgement, makeHandler)
    }

    public func connect(
        host: String, port: Int, loop: Int, encryption: Encryption,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) {
        precondition(encryption == .none, "this network does not encrypt; nobody could listen encrypted on it either")
        connect(host: host, port: port, loop: loop, makeHandler)
    }
}
