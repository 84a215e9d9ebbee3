import NIOCore
import Synchronization

#if TLS
    import Glibc
    import NIOSSL
#endif

/// Creates the TLS handlers of connections from certificates, which can be reloaded.
///
/// **Thread safety**: all methods may be called from any thread; handlers belong to their channel's event loop.
public final class TLSContext: Sendable {
    public let options: TLSOptions

    #if TLS
        private struct Contexts {
            /// For accepted connections; nil without a certificate.
            var accepting: NIOSSLContext?
            var connecting: NIOSSLContext
            /// When the certificate expires, in seconds since 1970; nil without a certificate.
            var expires: Int?
        }

        private let contexts: Mutex<Contexts>

        /// Reads the certificate files.
        public init(_ options: TLSOptions) throws(TLSError) {
            self.options = options
            contexts = Mutex(try TLSContext.read(options))
        }

        /// Reads the certificate files again. Open connections keep what they started with. If this throws, nothing
        /// changes.
        public func reload() throws(TLSError) {
            let fresh = try TLSContext.read(options)
            contexts.withLock { $0 = fresh }
        }

        /// When this end's certificate expires, in seconds since 1970; nil when it has none.
        public var expires: Int? { contexts.withLock { $0.expires } }

        /// Returns the handlers of an accepted connection, in order from the network.
        /// - Parameter failed: called once with the reason of a failure; the channel closes by itself.
        public func accepting(_ failed: @escaping (String) -> Void) throws(TLSError) -> [any ChannelHandler] {
            guard let context = contexts.withLock({ $0.accepting }) else {
                throw .identity("connections cannot be encrypted without a certificate (keystore)")
            }
            let tls = NIOSSLServerHandler(context: context)
            return [tls, TLSFailureHandler(tls, failed)]
        }

        /// Returns the handlers of an opened connection, in order from the network.
        /// - Parameters:
        ///   - host: the name or address connected to.
        ///   - failed: called once with the reason of a failure; the channel closes by itself.
        public func connecting(to host: String, _ failed: @escaping (String) -> Void) throws(TLSError)
            -> [any ChannelHandler]
        {
            let context = contexts.withLock { $0.connecting }
            do {
                // For an IP address the handler compares the certificate with the channel's remote address instead.
                let tls = try NIOSSLClientHandler(
                    context: context, serverHostname: TLSContext.isAddress(host) ? nil : host)
                return [tls, TLSFailureHandler(tls, failed)]
            } catch { throw .connection("'\(host)' cannot be the name in a certificate: \(error)") }
        }

        static func isAddress(_ host: String) -> Bool {
            do {
                _ = try SocketAddress(ipAddress: host, port: 0)
                return true
            } catch { return false }
        }

        private static func read(_ options: TLSOptions) throws(TLSError) -> Contexts {
            let authorities = try options.authorities.isEmpty ? nil : certificates(options.authorities)
            var connecting = TLSConfiguration.makeClientConfiguration()
            connecting.minimumTLSVersion = .tlsv12
            connecting.trustRoots = authorities.map { .certificates($0) } ?? .default
            switch options.verification {
            case .name: connecting.certificateVerification = .fullVerification
            case .authority: connecting.certificateVerification = .noHostnameVerification
            case .none: connecting.certificateVerification = .none
            }
            guard !options.certificate.isEmpty else {
                return Contexts(accepting: nil, connecting: try context(connecting, options), expires: nil)
            }
            let chain = try certificates(options.certificate)
            let key = try privateKey(options.privateKey.isEmpty ? options.certificate : options.privateKey)
            connecting.certificateChain = chain.map { .certificate($0) }
            connecting.privateKey = .privateKey(key)
            var accepting = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            accepting.minimumTLSVersion = .tlsv12
            if options.requiresClientCertificate {
                accepting.certificateVerification = .noHostnameVerification
                accepting.trustRoots = authorities.map { .certificates($0) } ?? .default
            } else {
                accepting.trustRoots = .certificates([])
            }
            return Contexts(
                accepting: try context(accepting, options), connecting: try context(connecting, options),
                expires: chain.first.map { Int($0.notValidAfter) })
        }

        private static func context(_ configuration: TLSConfiguration, _ options: TLSOptions) throws(TLSError)
            -> NIOSSLContext
        {
            do { return try NIOSSLContext(configuration: configuration) } catch {
                // The key was read before. This error means that it does not match the certificate, which is set first.
                if case NIOSSLError.failedToLoadPrivateKey = error {
                    throw .identity(
                        "the private key in \(options.privateKey.isEmpty ? options.certificate : options.privateKey) is not that of the certificate in \(options.certificate)"
                    )
                }
                throw .identity("the certificates cannot be used: \(error)")
            }
        }

        private static func certificates(_ path: String) throws(TLSError) -> [NIOSSLCertificate] {
            try check(path)
            do { return try NIOSSLCertificate.fromPEMFile(path) } catch {
                throw .file(path, reason: "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
            }
        }

        private static func privateKey(_ path: String) throws(TLSError) -> NIOSSLPrivateKey {
            try check(path)
            do { return try NIOSSLPrivateKey(file: path, format: .pem) } catch {
                throw .file(
                    path, reason: "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----) without a password")
            }
        }

        private static func check(_ path: String) throws(TLSError) {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                throw .file(path, reason: "it cannot be read: \(String(cString: strerror(errno)))")
            }
            close(descriptor)
        }
    #else
        /// - Throws: always `notBuilt`: this program was built without the package trait TLS.
        public init(_ options: TLSOptions) throws(TLSError) { throw .notBuilt }
        public func reload() throws(TLSError) { throw .notBuilt }
        public var expires: Int? { nil }
        public func accepting(_ failed: @escaping (String) -> Void) throws(TLSError) -> [any ChannelHandler] {
            throw .notBuilt
        }
        public func connecting(to host: String, _ failed: @escaping (String) -> Void) throws(TLSError)
            -> [any ChannelHandler]
        {
            throw .notBuilt
        }
    #endif
}
