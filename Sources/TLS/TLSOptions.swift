/// Who one end of encrypted connections is, and whom it believes. All files are PEM.
public struct TLSOptions: Sendable, Equatable {
    /// The certificate, followed by those between it and its authority; empty: this end shows none, which only one that connects can do.
    public var certificate = ""
    /// The certificate's private key, without a password; empty: it stands in the certificate's file.
    public var privateKey = ""
    /// The authorities that the other end's certificate must come from; empty: those of the system.
    public var authorities = ""
    /// Whether who connects must show a certificate.
    public var requiresClientCertificate = false
    /// What is asked of the certificate at the other end of a connection that is opened from here.
    public var verification = Verification.name

    /// Part of the command line of the tools; do not change.
    public enum Verification: String, Sendable, CaseIterable {
        /// It comes from an authority and stands for the name or address that was connected to.
        case name
        /// It comes from an authority.
        case authority
        /// Nothing: the connection is secret from who listens, not from who stands in between.
        case none
    }

    public init() {}
}

/// Why there is no encryption.
public enum TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    /// This program was built without it.
    case notBuilt
    /// A file is not what it should be.
    case file(String, reason: String)
    /// Certificate and key do not make an identity.
    case identity(String)
    /// A connection failed.
    case connection(String)

    public var description: String {
        switch self {
        case .notBuilt:
            "this program was built without TLS; build it with the package trait TLS, which `swift build` does by itself, or turn encryption off"
        case .file(let path, let reason): "\(path): \(reason)"
        case .identity(let what), .connection(let what): what
        }
    }
}
