/// The identity of one end of encrypted connections, and the authorities it trusts. All files are PEM.
public struct TLSOptions: Sendable, Equatable {
    /// The certificate, followed by intermediate certificates; empty: none, which only a connecting end may have.
    public var certificate = ""
    /// The certificate's private key, without a password; empty: it is in the certificate's file.
    public var privateKey = ""
    /// The authorities that may issue the other end's certificate; empty: the system's authorities.
    public var authorities = ""
    /// Whether connecting clients must present a certificate.
    public var requiresClientCertificate = false
    /// How to verify the certificate of the other end of an opened connection.
    public var verification = Verification.name

    /// Raw values are part of the tools' command line; do not change.
    public enum Verification: String, Sendable, CaseIterable {
        /// A trusted authority issued it, and it is valid for the name or address connected to.
        case name
        /// A trusted authority issued it.
        case authority
        /// Not at all: protects from eavesdroppers, but not from a man in the middle.
        case none
    }

    public init() {}
}

/// Why TLS is not available or failed.
public enum TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    /// This program was built without TLS.
    case notBuilt
    /// A file cannot be read or has the wrong content.
    case file(String, reason: String)
    /// The certificate and the key cannot be used.
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
