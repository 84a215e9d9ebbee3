import Cluster
import Platform

/// `server_encryption_options`: the encryption of internode connections and its certificates.
public struct ServerEncryptionOptions: Sendable, Equatable {
    /// Which outgoing connections are encrypted: none, rack (to other racks), dc (to other data centers), all.
    public var internodeEncryption = "none"
    /// Whether plain connections are accepted as well as encrypted ones.
    public var optional = false
    /// PEM files: the certificate chain, its private key (empty: in the same file), and the trusted authorities.
    public var keystore = ""
    public var privateKey = ""
    public var truststore = ""
    /// Whether a connecting node must present a certificate.
    public var requireClientAuth = false
    /// Whether a node's certificate must contain its address.
    public var requireEndpointVerification = false

    public init() {}

    /// Whether any connection may be encrypted.
    public var isUsed: Bool { internodeEncryption != "none" || optional }

    /// The encryption of the internode port. It must accept plain connections if nearby nodes connect without
    /// encryption.
    var listening: Encryption {
        if !isUsed { return .none }
        return internodeEncryption == "all" && !optional ? .required(.nodes) : .optional(.nodes)
    }

    /// Whether this node encrypts a connection that it opens.
    /// - Parameter other: the other node's location; nil if not known yet, in which case it counts as far away.
    func encrypts(to other: () -> Location?, from own: Location) -> Bool {
        switch internodeEncryption {
        case "all": return true
        case "dc": return other()?.dataCenter != own.dataCenter
        case "rack": return other() != own
        default: return false
        }
    }

    /// What is missing; nil if nothing is.
    var complaint: String? {
        if isUsed && (keystore.isEmpty || truststore.isEmpty) {
            return
                "server_encryption_options enable encryption; set keystore (a PEM file with this node's certificate) and truststore (a PEM file with the authorities of all nodes)"
        }
        return nil
    }
}

/// `client_encryption_options`: the encryption of client connections and its certificate.
public struct ClientEncryptionOptions: Sendable, Equatable {
    public var enabled = false
    /// Whether plain connections are accepted as well as encrypted ones.
    public var optional = false
    /// PEM files: the certificate chain, its private key (empty: in the same file), and the authorities of client
    /// certificates.
    public var keystore = ""
    public var privateKey = ""
    public var truststore = ""
    /// Whether a client must present a certificate.
    public var requireClientAuth = false

    public init() {}

    /// The encryption of the client ports.
    var listening: Encryption {
        if !enabled { return .none }
        return optional ? .optional(.clients) : .required(.clients)
    }

    /// What is missing; nil if nothing is.
    var complaint: String? {
        if enabled && keystore.isEmpty {
            return "client_encryption_options are enabled; set keystore (a PEM file with this node's certificate)"
        }
        if enabled && requireClientAuth && truststore.isEmpty {
            return
                "client_encryption_options.require_client_auth needs truststore, a PEM file with the authorities that sign client certificates"
        }
        return nil
    }
}
