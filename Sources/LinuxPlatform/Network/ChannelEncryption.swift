import NIOCore
import Platform

/// The channel handlers that encrypt a connection.
///
/// This target contains no TLS; the creator of the network supplies the handlers.
public struct ChannelEncryption: Sendable {
    /// Called once when the connection cannot continue; the channel then closes itself.
    public typealias Failed = (String) -> Void

    let accepting: @Sendable (@escaping Failed) throws -> [any ChannelHandler]
    let connecting: @Sendable (_ host: String, @escaping Failed) throws -> [any ChannelHandler]

    /// - Parameters:
    ///   - accepting: creates the handlers of an accepted connection, in order from the network.
    ///   - connecting: creates the handlers of a connection opened to a host name or address.
    public init(
        accepting: @escaping @Sendable (@escaping Failed) throws -> [any ChannelHandler],
        connecting: @escaping @Sendable (_ host: String, @escaping Failed) throws -> [any ChannelHandler]
    ) {
        self.accepting = accepting
        self.connecting = connecting
    }
}

/// Checks the first byte of an accepted connection: adds the TLS handlers, or lets plain bytes pass, or rejects them.
/// Then it removes itself.
final class OpeningHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let tls: ChannelEncryption
    private let takesPlain: Bool
    private let connection: ChannelConnection
    private var isRefused = false

    init(_ tls: ChannelEncryption, takesPlain: Bool, _ connection: ChannelConnection) {
        self.tls = tls
        self.takesPlain = takesPlain
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        guard let first = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self), !isRefused else { return }
        if first == FirstByte.tls {
            do {
                let handlers = try tls.accepting { [weak connection] in connection?.fail($0) }
                try context.pipeline.syncOperations.addHandlers(handlers, position: .after(self))
            } catch {
                connection.fail("\(error)")
                context.close(promise: nil)
                return
            }
        } else if !takesPlain {
            isRefused = true
            connection.fail(
                "the other end sent plain bytes, but TLS is required; enable encryption there, or accept both here with optional: true",
                otherIsPlain: true)
            return
        }
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
