import NIOCore
import Platform
import Primitives

/// One connection: raw bytes to and from its handler.
///
/// SAFETY: `@unchecked` because all state is touched on the channel's loop only.
final class ChannelConnection: ChannelInboundHandler, Connection, TurnConnection, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let channel: any Channel
    private let state: NetworkLoop
    let acknowledgement: (any Acknowledgement)?
    /// Opened from here: what the other end answers is read also while it takes nothing, or both would wait for each
    /// other.
    private let isOutgoing: Bool
    var handler: (any ConnectionHandler)?
    let peer: String
    /// Input the handler has not consumed.
    private var rest: ByteWriter?
    var answers = TurnAnswers<ByteBuffer?>()
    private var isReading = true
    private var inputHasEnded = false
    private var endIsDelivered = false

    init(channel: any Channel, state: NetworkLoop, acknowledgement: (any Acknowledgement)?, isOutgoing: Bool = false) {
        self.channel = channel
        self.isOutgoing = isOutgoing
        self.state = state
        self.acknowledgement = acknowledgement
        peer = channel.remoteAddress.map { "\($0.ipAddress ?? "?"):\($0.port ?? 0)" } ?? "?"
    }

    var loop: Int { state.index }
    var turn: LoopTurn<ChannelConnection> { state.turn }

    func onLoop(_ work: @escaping @Sendable () -> Void) { state.loop.execute(work) }

    // MARK: Input

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        guard let handler else { return }
        if rest != nil {
            buffer.withUnsafeReadableBytes { rest?.write($0) }
            feedRest(handler)
        } else {
            buffer.withUnsafeReadableBytes { bytes in
                let consumed = handler.receive(bytes)
                if consumed < bytes.count {
                    var kept = ByteWriter(capacity: max(bytes.count - consumed, 4096))
                    kept.write(UnsafeRawBufferPointer(rebasing: bytes[consumed...]))
                    rest = consume kept
                }
            }
        }
        updateReading(handler)
    }

    private func feedRest(_ handler: any ConnectionHandler) {
        guard var kept = rest.take() else { return }
        let consumed = handler.receive(kept.bytes)
        if consumed == kept.count { return }
        if consumed > 0 { kept.dropFirst(consumed) }
        rest = consume kept
    }

    func resumeInput() {
        guard let handler else { return }
        feedRest(handler)
        if inputHasEnded { endInput(handler) }
        updateReading(handler)
    }

    func updateReading() { if let handler { updateReading(handler) } }

    private func updateReading(_ handler: any ConnectionHandler) {
        let wanted = !handler.isPaused && (isOutgoing || channel.isWritable) && !answers.isFull
        if wanted == isReading { return }
        isReading = wanted
        channel.setOption(.autoRead, value: wanted).whenFailure { _ in }
        if wanted { channel.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent {
            inputHasEnded = true
            if let handler { endInput(handler) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func endInput(_ handler: any ConnectionHandler) {
        if handler.isPaused || endIsDelivered { return }
        endIsDelivered = true
        if let kept = rest.take() {
            handler.inputEnded(kept.bytes)
        } else {
            handler.inputEnded(UnsafeRawBufferPointer(start: nil, count: 0))
        }
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
        guard let handler else { return }
        if channel.isWritable {
            handler.outputSent()
            resumeInput()
        } else {
            updateReading(handler)
        }
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
        if channel.isWritable {
            handler?.outputSent()
            resumeInput()
        }
    }

    func closeNow() { channel.close(mode: .all, promise: nil) }
}
