#if TLS
    import Glibc
    import NIOCore
    import NIOSSL

    /// Follows the TLS handler in the pipeline and reports its failures in plain words.
    ///
    /// A connection that ends without a TLS close notification is not a failure: this server's protocols state the
    /// length of every message.
    final class TLSFailureHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer

        private let tls: NIOSSLHandler
        private var failed: ((String) -> Void)?

        init(_ tls: NIOSSLHandler, _ failed: @escaping (String) -> Void) {
            self.tls = tls
            self.failed = failed
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            switch error {
            case NIOSSLError.uncleanShutdown, NIOSSLError.shutdownFailed, is NIOSSLCloseTimedOutError: return
            case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
                guard let failed else { return }
                self.failed = nil
                failed(TLSFailure.text("\(error)", shown: shown, now: time(nil)))
            default: context.fireErrorCaught(error)
            }
        }

        private var shown: TLSFailure.Shown? {
            tls.peerCertificate.map {
                TLSFailure.Shown(
                    description: "\($0)", validFrom: Int($0.notValidBefore), validUntil: Int($0.notValidAfter))
            }
        }

        func handlerRemoved(context: ChannelHandlerContext) { failed = nil }
    }
#endif
