import NIOCore
import Synchronization

#if TLS
    import Glibc
    import NIOSSL
#endif

/// Makes the encrypting handlers of connections, from certificates that may be read anew.
///
/// **Thread safety**: all methods, from any thread; the handlers belong to their channel's loop.
public final class TLSContext: Sendable {
    public let options: TLSOptions

    #if TLS
        private struct Contexts {
            /// nil without a certificate: nothing can be accepted.
            var accepting: NIOSSLContext?
            var connecting: NIOSSLContext
            /// Seconds since 1970; nil without a certificate.
            var expires: Int?
        }

        private let contexts: Mutex<Contexts>

        /// Reads the files.
        public init(_ options: TLSOptions) throws(TLSError) {
            self.options = options
            contexts = Mutex(try TLSContext.read(options))
        }

        /// Reads the files again; connections that are open go on with what they began with. When it throws, everything stays as it was.
        public func reload() throws(TLSError) {
            let fresh = try TLSContext.read(options)
            contexts.withLock { $0 = fresh }
        }

        /// Until when this end's certificate is valid, in seconds since 1970; nil when it has none.
        public var expires: Int? { contexts.withLock { $0.expires } }

        /// The handlers of a connection that was accepted, in order from the network.
        /// - Parameter failed: told, once, why it cannot go on; the channel closes by itself.
        public func accepting(_ failed: @escaping (String) -> Void) throws(TLSError) -> [any ChannelHandler] {
            guard let context = contexts.withLock({ $0.accepting }) else {
                throw .identity("connections cannot be encrypted without a certificate (keystore)")
            }
            let tls = NIOSSLServerHandler(context: context)
            return [tls, TLSFailureHandler(tls, failed)]
        }

        /// The handlers of a connection that is opened, in order from the network.
        /// - Parameters:
        ///   - host: the name or address that was asked for.
        ///   - failed: told, once, why it cannot go on; the channel closes by itself.
        public func connecting(to host: String, _ failed: @escaping (String) -> Void) throws(TLSError) -> [any ChannelHandler] {
            let context = contexts.withLock { $0.connecting }
            do {
                // An address is looked for in the certificate by the channel's own.
                let tls = try NIOSSLClientHandler(context: context, serverHostname: TLSContext.isAddress(host) ? nil : host)
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

        private static func context(_ configuration: TLSConfiguration, _ options: TLSOptions) throws(TLSError) -> NIOSSLContext {
            do { return try NIOSSLContext(configuration: configuration) } catch {
                // The key itself could be read; it is set after the certificate, and compared with it.
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
                throw .file(path, reason: "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----) without a password")
            }
        }

        private static func check(_ path: String) throws(TLSError) {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw .file(path, reason: "it cannot be read: \(String(cString: strerror(errno)))") }
            close(descriptor)
        }
    #else
        /// - Throws: `notBuilt`, always: this program was built without the package trait TLS.
        public init(_ options: TLSOptions) throws(TLSError) { throw .notBuilt }
        public func reload() throws(TLSError) { throw .notBuilt }
        public var expires: Int? { nil }
        public func accepting(_ failed: @escaping (String) -> Void) throws(TLSError) -> [any ChannelHandler] { throw .notBuilt }
        public func connecting(to host: String, _ failed: @escaping (String) -> Void) throws(TLSError) -> [any ChannelHandler] {
            throw .notBuilt
        }
    #endif
}
