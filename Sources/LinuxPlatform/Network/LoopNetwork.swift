import NIOCore
import NIOPosix
import Platform

/// Connections over SwiftNIO event loops.
public final class LoopNetwork: Network {
    private let group: MultiThreadedEventLoopGroup
    private let loopStates: [NetworkLoop]
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
        loopStates = group.makeIterator().enumerated().map { NetworkLoop(index: $0, loop: $1) }
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
        let loopStates = loopStates
        let opening: (tls: ChannelEncryption, plain: Bool)?
        switch encryption {
        case .none: opening = nil
        case .required(let realm), .optional(let realm):
            guard let tls = self.encryption(realm) else {
                throw NetworkError(
                    "connections to \(host):\(port) require encryption, but no certificates are configured")
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
            .childChannelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 256 << 10)
            )
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let state = loopStates.first(where: { $0.loop === channel.eventLoop }) else { return }
                    let connection = ChannelConnection(channel: channel, state: state, acknowledgement: acknowledgement)
                    connection.handler = makeHandler(connection)
                    if let (tls, takesPlain) = opening {
                        try channel.pipeline.syncOperations.addHandler(
                            OpeningHandler(tls, takesPlain: takesPlain, connection))
                    }
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
        do {
            let channel = try bootstrap.bind(host: host, port: port).wait()
            return BoundListener(channel: channel, port: channel.localAddress?.port ?? port)
        } catch {
            throw NetworkError(
                "cannot listen on \(host):\(port): \(error); is another server running there? Choose another port or address"
            )
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
        let state = loopStates[loop]
        let made = PendingConnection()
        let bootstrap = ClientBootstrap(group: state.loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(LoopNetwork.userTimeout), value: 30_000)
            .connectTimeout(.seconds(2))
            .channelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 256 << 10)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 256 << 10, high: 1 << 20))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = ChannelConnection(
                        channel: channel, state: state, acknowledgement: nil, isOutgoing: true)
                    connection.handler = makeHandler(connection)
                    made.connection = connection
                    if let tls {
                        try channel.pipeline.syncOperations.addHandlers(
                            tls.connecting(host) { [weak connection] in connection?.fail($0) })
                    }
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
        // A channel that never became active gets no close event.
        bootstrap.connect(host: host, port: port).whenFailure { _ in made.connection?.end() }
    }

    /// SAFETY: `@unchecked` because it is accessed on the connection's loop only.
    private final class PendingConnection: @unchecked Sendable {
        var connection: ChannelConnection?
    }

    /// TCP_USER_TIMEOUT, option 18: milliseconds after which a connection with unacknowledged data is closed.
    private static let userTimeout = NIOBSDSocket.Option(rawValue: 18)

    public func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) { loopStates[loop].loop.execute(work) }

    public func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        loopStates[loop].loop.scheduleTask(in: .nanoseconds(Int64(clamping: nanoseconds))) { work() }
    }

    public func whenSafe(
        loop: Int, _ acknowledgement: any Acknowledgement, _ waiter: any SafetyWaiter, token: UInt64
    ) {
        loopStates[loop].turn.whenSafe(acknowledgement, waiter, token: token)
    }

    public func stop() { group.shutdownGracefully { _ in } }
}

/// One event loop and what it does at the end of its turns.
struct NetworkLoop: Sendable {
    let index: Int
    let loop: any EventLoop
    let turn: LoopTurn<ChannelConnection>

    init(index: Int, loop: any EventLoop) {
        self.index = index
        self.loop = loop
        turn = LoopTurn { loop.execute($0) }
    }
}
