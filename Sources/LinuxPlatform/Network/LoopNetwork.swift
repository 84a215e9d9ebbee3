import NIOCore
import NIOPosix
import Platform
import Primitives

/// Connections over SwiftNIO event loops.
public final class LoopNetwork: Network {
    private let group: MultiThreadedEventLoopGroup
    private let ticks: [LoopTick]
    public let loops: Int
    private let clients: ChannelEncryption?
    private let nodes: ChannelEncryption?

    /// - Parameters:
    ///   - loops: the number of threads that serve connections; best one per core.
    ///   - clients: the encryption of client connections; nil: not available.
    ///   - nodes: the encryption of internode connections; nil: not available.
    public init(loops: Int, clients: ChannelEncryption? = nil, nodes: ChannelEncryption? = nil) {
        self.loops = max(1, loops)
        self.clients = clients
        self.nodes = nodes
        group = MultiThreadedEventLoopGroup(numberOfThreads: self.loops)
        var ticks: [LoopTick] = []
        for (index, loop) in group.makeIterator().enumerated() { ticks.append(LoopTick(index: index, loop: loop)) }
        self.ticks = ticks
    }

    private struct BoundListener: Listener {
        let channel: any Channel
        let port: Int
        func close() { channel.close(mode: .all, promise: nil) }
    }

    /// The encryption of a realm's connections.
    private func encryption(_ realm: Encryption.Realm) -> ChannelEncryption? {
        switch realm {
        case .clients: clients
        case .nodes: nodes
        }
    }

    public func listen(
        host: String, port: Int, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener {
        try listen(host: host, port: port, encryption: .none, acknowledgement: acknowledgement, makeHandler)
    }

    public func listen(
        host: String, port: Int, encryption: Encryption, acknowledgement: (any Acknowledgement)?,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) throws(NetworkError) -> any Listener {
        let ticks = ticks
        let opening: (tls: ChannelEncryption, plain: Bool)?
        switch encryption {
        case .none: opening = nil
        case .required(let realm), .optional(let realm):
            guard let tls = self.encryption(realm) else {
                throw NetworkError("connections to \(host):\(port) require encryption, but no certificates are configured")
            }
            opening = (tls, encryption == .optional(realm))
        }
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: 64)
            .childChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 256 << 10))
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let tick = ticks.first(where: { $0.loop === channel.eventLoop }) else { return }
                    let connection = ChannelConnection(channel: channel, tick: tick, acknowledgement: acknowledgement)
                    connection.handler = makeHandler(connection)
                    if let (tls, takesPlain) = opening {
                        try channel.pipeline.syncOperations.addHandler(OpeningHandler(tls, takesPlain: takesPlain, connection))
                    }
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
        do {
            let channel = try bootstrap.bind(host: host, port: port).wait()
            return BoundListener(channel: channel, port: channel.localAddress?.port ?? port)
        } catch {
            throw NetworkError(
                "cannot listen on \(host):\(port): \(error); is another server running there? Choose another port or address")
        }
    }

    public func connect(
        host: String, port: Int, loop: Int, _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) {
        connect(host: host, port: port, loop: loop, encryption: .none, makeHandler)
    }

    public func connect(
        host: String, port: Int, loop: Int, encryption: Encryption,
        _ makeHandler: @escaping @Sendable (any Connection) -> any ConnectionHandler
    ) {
        let tls: ChannelEncryption?
        switch encryption {
        case .none: tls = nil
        case .required(let realm), .optional(let realm):
            tls = self.encryption(realm)
            precondition(tls != nil, "an encrypted connection needs certificates, and this network has none")
        }
        let tick = ticks[loop]
        let made = MadeConnection()
        let bootstrap = ClientBootstrap(group: tick.loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(LoopNetwork.userTimeout), value: 30_000)
            .connectTimeout(.seconds(2))
            .channelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 256 << 10))
            .channelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = ChannelConnection(channel: channel, tick: tick, acknowledgement: nil, isOutgoing: true)
                    connection.handler = makeHandler(connection)
                    made.connection = connection
                    if let tls {
                        try channel.pipeline.syncOperations.addHandlers(tls.connecting(host) { [weak connection] in connection?.fail($0) })
                    }
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
        // A channel that never became active gets no close event.
        bootstrap.connect(host: host, port: port).whenFailure { _ in made.connection?.end() }
    }

    /// SAFETY: `@unchecked` because it is accessed on the connection's loop only.
    private final class MadeConnection: @unchecked Sendable {
        var connection: ChannelConnection?
    }

    /// TCP_USER_TIMEOUT, option 18: milliseconds after which a connection with unacknowledged data is closed.
    private static let userTimeout = NIOBSDSocket.Option(rawValue: 18)

    public func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) { ticks[loop].loop.execute(work) }

    public func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        ticks[loop].loop.scheduleTask(in: .nanoseconds(Int64(clamping: nanoseconds))) { work() }
    }

    public func whenSafe(loop: Int, _ acknowledgement: any Acknowledgement, _ work: @escaping @Sendable (String?) -> Void) {
        ticks[loop].whenSafe(acknowledgement, work)
    }

    public func stop() { group.shutdownGracefully { _ in } }
}

/// The end-of-tick work of one loop: flush the commit log once, then send the output of all connections that have some.
///
/// SAFETY: `@unchecked` because everything except `index` and `loop` is accessed on the loop only.
final class LoopTick: @unchecked Sendable {
    let index: Int
    let loop: any EventLoop
    private var ready: [ChannelConnection] = []
    /// Work that runs after the tick's writes are safe.
    private var waiting: [@Sendable (String?) -> Void] = []
    private var waitingAcknowledgement: (any Acknowledgement)?
    private var isScheduled = false
    /// `Acknowledgement.mark` at the end of the last tick.
    private var lastMark: UInt64 = 0

    init(index: Int, loop: any EventLoop) {
        self.index = index
        self.loop = loop
    }

    /// Schedules the connection's output for after the events that the loop is handling now.
    func add(_ connection: ChannelConnection) {
        ready.append(connection)
        scheduleEnd()
    }

    func whenSafe(_ acknowledgement: any Acknowledgement, _ work: @escaping @Sendable (String?) -> Void) {
        waiting.append(work)
        waitingAcknowledgement = acknowledgement
        scheduleEnd()
    }

    private func scheduleEnd() {
        if isScheduled { return }
        isScheduled = true
        loop.execute { self.end() }
    }

    private func end() {
        isScheduled = false
        var connections: [ChannelConnection] = []
        swap(&connections, &ready)
        var works: [@Sendable (String?) -> Void] = []
        swap(&works, &waiting)
        // Outgoing connections acknowledge nothing, so they do not wait for the flush.
        for connection in connections where connection.acknowledgement == nil { connection.send(failure: nil) }
        connections.removeAll { $0.acknowledgement == nil }
        guard let acknowledgement = waitingAcknowledgement ?? connections.first?.acknowledgement else { return }
        waitingAcknowledgement = nil
        let mark = acknowledgement.mark
        var failure = acknowledgement.flush()
        // Without new writes a failed flush does not matter: reads continue while the disk accepts no writes.
        if mark == lastMark { failure = nil }
        lastMark = mark
        if failure == nil && acknowledgement.needsSync {
            let held = connections.map { ($0, $0.hold()) }
            let waited = works
            acknowledgement.sync { failure in
                self.loop.execute {
                    for (connection, ticket) in held { connection.release(ticket, failure: failure) }
                    for work in waited { work(failure) }
                }
            }
            return
        }
        for connection in connections { connection.send(failure: failure) }
        for work in works { work(failure) }
    }
}

/// One connection: passes raw bytes to and from its handler.
///
/// SAFETY: `@unchecked` because all state is accessed on the channel's loop only.
final class ChannelConnection: ChannelInboundHandler, Connection, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let channel: any Channel
    private let tick: LoopTick
    let acknowledgement: (any Acknowledgement)?
    /// Whether this process opened the connection. Then input is read even while the output is blocked; otherwise both
    /// ends could block each other.
    private let isOutgoing: Bool
    var handler: (any ConnectionHandler)?
    let peer: String
    /// Input that the handler has not consumed.
    private var rest: ByteWriter?
    private var isReady = false
    private var isReading = true
    private var isClosing = false
    private var inputHasEnded = false
    private var endIsDelivered = false
    /// Output that waits for a sync, and output behind it, in order.
    private var held: [HeldAnswers] = []
    private var heldBytes = 0
    private var nextTicket: UInt64 = 0

    private struct HeldAnswers {
        let ticket: UInt64
        let buffer: ByteBuffer
        var isSafe: Bool
    }

    /// Bytes of held output at which reading from the client pauses.
    static let heldLimitBytes = 1 << 20

    init(channel: any Channel, tick: LoopTick, acknowledgement: (any Acknowledgement)?, isOutgoing: Bool = false) {
        self.channel = channel
        self.isOutgoing = isOutgoing
        self.tick = tick
        self.acknowledgement = acknowledgement
        peer = channel.remoteAddress.map { "\($0.ipAddress ?? "?"):\($0.port ?? 0)" } ?? "?"
    }

    var loop: Int { tick.index }

    func onLoop(_ work: @escaping @Sendable () -> Void) { tick.loop.execute(work) }

    func markReady() {
        if isReady { return }
        isReady = true
        tick.add(self)
    }

    func closeAfterOutput() {
        isClosing = true
        markReady()
    }

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

    private func updateReading(_ handler: any ConnectionHandler) {
        let wanted = !handler.isPaused && (isOutgoing || channel.isWritable) && heldBytes < ChannelConnection.heldLimitBytes
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

    /// Tells the handler, once, that the connection is closed.
    func end() {
        handler?.closed()
        handler = nil
        held = []
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Tells the handler that the connection is not encrypted as required.
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

    private func takeOutput(failure: String?) -> ByteBuffer? {
        isReady = false
        var taken: ByteBuffer?
        handler?.takeOutput(failure: failure) { bytes in
            guard bytes.count > 0 else { return }
            var buffer = channel.allocator.buffer(capacity: bytes.count)
            buffer.writeBytes(bytes)
            taken = buffer
        }
        return taken
    }

    func send(failure: String?) {
        let buffer = takeOutput(failure: failure)
        if held.isEmpty {
            write(buffer)
        } else {
            // Keep the order: held output goes first.
            _ = hold(buffer, isSafe: true)
        }
    }

    private func write(_ buffer: ByteBuffer?) {
        if isClosing && held.isEmpty && !isReady {
            // Close only after the last output has been sent.
            let channel = channel
            channel.writeAndFlush(buffer ?? ByteBuffer()).whenComplete { _ in channel.close(mode: .all, promise: nil) }
            return
        }
        if let buffer, buffer.readableBytes > 0 { channel.writeAndFlush(buffer, promise: nil) }
        if channel.isWritable {
            handler?.outputSent()
            resumeInput()
        }
    }

    /// Takes the output and holds it until the writes it acknowledges are synced.
    /// - Returns: the ticket for `release`.
    func hold() -> UInt64 { hold(takeOutput(failure: nil), isSafe: false) }

    private func hold(_ buffer: ByteBuffer?, isSafe: Bool) -> UInt64 {
        defer { nextTicket += 1 }
        held.append(HeldAnswers(ticket: nextTicket, buffer: buffer ?? ByteBuffer(), isSafe: isSafe))
        heldBytes += buffer?.readableBytes ?? 0
        if let handler { updateReading(handler) }
        return nextTicket
    }

    /// Sends output whose writes are synced, and output held behind it.
    func release(_ ticket: UInt64, failure: String?) {
        if failure != nil {
            // The writes are not safe: the client must not see a success.
            channel.close(mode: .all, promise: nil)
            return
        }
        if let index = held.firstIndex(where: { $0.ticket == ticket }) { held[index].isSafe = true }
        while let first = held.first, first.isSafe {
            held.removeFirst()
            heldBytes -= first.buffer.readableBytes
            write(first.buffer)
        }
    }
}
