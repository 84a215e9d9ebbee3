import NIOCore
import Platform

/// What makes a channel encrypted: handlers that go before its own.
///
/// This room knows no TLS; whoever makes the network brings it.
public struct ChannelEncryption: Sendable {
    /// What a handler calls, once, when the connection cannot go on; the channel then closes by itself.
    public typealias Failed = (String) -> Void

    let accepting: @Sendable (@escaping Failed) throws -> [any ChannelHandler]
    let connecting: @Sendable (_ host: String, @escaping Failed) throws -> [any ChannelHandler]

    /// - Parameters:
    ///   - accepting: makes the handlers of a connection that was accepted, in order from the network.
    ///   - connecting: makes those of one that is opened to a name or address.
    public init(
        accepting: @escaping @Sendable (@escaping Failed) throws -> [any ChannelHandler],
        connecting: @escaping @Sendable (_ host: String, @escaping Failed) throws -> [any ChannelHandler]
    ) {
        self.accepting = accepting
        self.connecting = connecting
    }
}

/// Looks at the first byte of a connection that was accepted: TLS gets its handlers, plain bytes pass or are refused. Then it leaves.
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
                "the other end speaks plain where TLS is needed; turn encryption on there, or take both here with optional: true",
                otherIsPlain: true)
            return
        }
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
