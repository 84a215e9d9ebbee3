import Cluster
import Platform

/// `server_encryption_options`: what is encrypted between nodes, and with which certificates.
public struct ServerEncryptionOptions: Sendable, Equatable {
    /// What connections that this node opens are encrypted: none, rack (to another rack), dc (to another data center), all.
    public var internodeEncryption = "none"
    /// Whether plain connections are taken beside encrypted ones.
    public var optional = false
    /// PEM files: the certificate and those up to its authority, its key (empty: in the same file), the authorities.
    public var keystore = ""
    public var privateKey = ""
    public var truststore = ""
    /// Whether a node that connects must show a certificate.
    public var requireClientAuth = false
    /// Whether the address of a node must stand in its certificate.
    public var requireEndpointVerification = false

    public init() {}

    /// Whether any connection may be encrypted.
    public var isUsed: Bool { internodeEncryption != "none" || optional }

    /// What is taken on the port of the other nodes. Where nodes near by are plain, plain ones must be taken.
    var listening: Encryption {
        if !isUsed { return .none }
        return internodeEncryption == "all" && !optional ? .required(.nodes) : .optional(.nodes)
    }

    /// Whether a connection is encrypted that this node opens.
    /// - Parameter other: where the other node is; nil when that is not known yet: it might be far.
    func encrypts(to other: () -> Location?, from own: Location) -> Bool {
        switch internodeEncryption {
        case "all": return true
        case "dc": return other()?.dataCenter != own.dataCenter
        case "rack": return other() != own
        default: return false
        }
    }

    /// What is missing; nil when nothing is.
    var complaint: String? {
        if isUsed && (keystore.isEmpty || truststore.isEmpty) {
            return
                "server_encryption_options ask for encryption; give keystore (a PEM file with this node's certificate) and truststore (a PEM file with the authorities of all nodes)"
        }
        return nil
    }
}

/// `client_encryption_options`: whether clients' connections are encrypted, and with which certificate.
public struct ClientEncryptionOptions: Sendable, Equatable {
    public var enabled = false
    /// Whether plain connections are taken beside encrypted ones.
    public var optional = false
    /// PEM files: the certificate and those up to its authority, its key (empty: in the same file), the authorities of clients.
    public var keystore = ""
    public var privateKey = ""
    public var truststore = ""
    /// Whether a client must show a certificate.
    public var requireClientAuth = false

    public init() {}

    /// What is taken on the ports of clients.
    var listening: Encryption {
        if !enabled { return .none }
        return optional ? .optional(.clients) : .required(.clients)
    }

    /// What is missing; nil when nothing is.
    var complaint: String? {
        if enabled && keystore.isEmpty {
            return "client_encryption_options are enabled; give keystore (a PEM file with this node's certificate)"
        }
        if enabled && requireClientAuth && truststore.isEmpty {
            return
                "client_encryption_options.require_client_auth needs truststore, a PEM file with the authorities that clients' certificates come from"
        }
        return nil
    }
}
