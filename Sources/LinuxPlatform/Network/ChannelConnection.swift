import NIOCore
import Platform

/// One connection: raw bytes to and from its handler.
///
/// SAFETY: `@unchecked` because all state is touched on the channel's loop only.
final class ChannelConnection: ChannelInboundHandler, HandledConnection, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let channel: any Channel
    private let state: NetworkLoop
    let acknowledgement: (any Acknowledgement)?
    let isOutgoing: Bool
    var handler: (any ConnectionHandler)?
    let peer: String
    var input = ConnectionInput()
    var answers = TurnAnswers<ByteBuffer?>()

    init(channel: any Channel, state: NetworkLoop, acknowledgement: (any Acknowledgement)?, isOutgoing: Bool = false) {
        self.channel = channel
        self.isOutgoing = isOutgoing
        self.state = state
        self.acknowledgement = acknowledgement
        peer = channel.remoteAddress.map { "\($0.ipAddress ?? "?"):\($0.port ?? 0)" } ?? "?"
    }

    var loop: Int { state.index }
    var turn: LoopTurn<ChannelConnection> { state.turn }
    var isWritable: Bool { channel.isWritable }

    func onLoop(_ work: @escaping @Sendable () -> Void) { state.loop.execute(work) }

    // MARK: Input

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unwrapInboundIn(data).withUnsafeReadableBytes { receive($0) }
    }

    func setReading(_ isReading: Bool) {
        channel.setOption(.autoRead, value: isReading).whenFailure { _ in }
        if isReading { channel.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent { endInput() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// Tells the handler, once, that the connection is gone.
    func end() {
        handler?.closed()
        handler = nil
        answers.dropHeld()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Tells the handler that the connection is not encrypted as it should be.
    func fail(_ reason: String, otherIsPlain: Bool = false) {
        handler?.encryptionFailed(EncryptionFailure(reason, otherIsPlain: otherIsPlain))
        if otherIsPlain { closeAfterOutput() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        updateWritability()
        context.fireChannelWritabilityChanged()
    }

    // MARK: Output

    func takeOutput(failure: String?) -> ByteBuffer? {
        var taken: ByteBuffer?
        handler?.takeOutput(failure: failure) { bytes in
            guard bytes.count > 0 else { return }
            var buffer = channel.allocator.buffer(capacity: bytes.count)
            buffer.writeBytes(bytes)
            taken = buffer
        }
        return taken
    }

    func byteCount(of output: ByteBuffer?) -> Int { output?.readableBytes ?? 0 }

    func write(_ output: ByteBuffer?, isLast: Bool) {
        if isLast {
            let channel = channel
            channel.writeAndFlush(output ?? ByteBuffer()).whenComplete { _ in channel.close(mode: .all, promise: nil) }
            return
        }
        if let output, output.readableBytes > 0 { channel.writeAndFlush(output, promise: nil) }
        updateWritability()
    }

    func closeNow() { channel.close(mode: .all, promise: nil) }
}
