#if TLS
    import Dispatch
    import NIOCore
    import NIOTLS

    /// A channel without a socket that hosts the TLS handler: bytes to send collect in `output`, decrypted bytes in
    /// `input`.
    ///
    /// SAFETY: `@unchecked Sendable` because the protocol requires it; a channel belongs to its session, which has one
    /// owner.
    final class ByteChannel: Channel, ChannelCore, @unchecked Sendable {
        var output = ByteBuffer()
        var input = ByteBuffer()
        /// Why the connection failed; nil while it works.
        var failure: String?
        private(set) var isEstablished = false
        private(set) var isActive = false
        private var isOpen = true
        private let loop = CallerEventLoop()
        private let address: SocketAddress?
        private let closing: EventLoopPromise<Void>
        private var line: ChannelPipeline?

        init(host: String) {
            closing = loop.makePromise()
            // The TLS handler compares an IP address in the certificate with the channel's remote address.
            do { address = try SocketAddress(ipAddress: host, port: 0) } catch { address = ByteChannel.noAddress }
        }

        private static let noAddress: SocketAddress? = {
            do { return try SocketAddress(ipAddress: "0.0.0.0", port: 0) } catch { return nil }
        }()

        /// Adds the handlers and starts the handshake.
        func open(_ handlers: [any ChannelHandler]) throws {
            line = ChannelPipeline(channel: self)
            try pipeline.syncOperations.addHandlers(handlers)
            try pipeline.syncOperations.addHandler(Established { [unowned self] in isEstablished = true })
            pipeline.syncOperations.fireChannelRegistered()
            isActive = true
            pipeline.syncOperations.fireChannelActive()
            loop.run()
        }

        func receive(_ bytes: UnsafeRawBufferPointer) {
            guard isOpen else { return }
            pipeline.syncOperations.fireChannelRead(NIOAny(allocator.buffer(bytes: bytes)))
            pipeline.syncOperations.fireChannelReadComplete()
            loop.run()
        }

        func send(_ bytes: UnsafeRawBufferPointer) {
            guard isOpen else { return }
            pipeline.syncOperations.writeAndFlush(NIOAny(allocator.buffer(bytes: bytes)), promise: nil)
            loop.run()
        }

        /// Removes the handlers, which refer to the channel.
        func end() {
            close0(error: ChannelError.ioOnClosedChannel, mode: .all, promise: nil)
            loop.run()
            loop.cancelAll()
            line = nil
        }

        /// Calls `done` when the handshake has completed.
        private final class Established: ChannelInboundHandler {
            typealias InboundIn = ByteBuffer
            private let done: () -> Void
            init(_ done: @escaping () -> Void) { self.done = done }

            func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
                if case .some(.handshakeCompleted) = event as? TLSUserEvent { done() }
                context.fireUserInboundEventTriggered(event)
            }
        }

        // MARK: Channel

        let allocator = ByteBufferAllocator()
        var closeFuture: EventLoopFuture<Void> { closing.futureResult }
        var pipeline: ChannelPipeline {
            guard let line else { preconditionFailure("the channel is not open") }
            return line
        }
        var localAddress: SocketAddress? { nil }
        var remoteAddress: SocketAddress? { address }
        var parent: (any Channel)? { nil }
        var isWritable: Bool { true }
        var _channelCore: any ChannelCore { self }
        var eventLoop: any EventLoop { loop }

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
            loop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
            loop.makeFailedFuture(ChannelError.operationUnsupported)
        }

        // MARK: ChannelCore

        func localAddress0() throws -> SocketAddress { throw ChannelError.operationUnsupported }
        func remoteAddress0() throws -> SocketAddress {
            guard let address else { throw ChannelError.operationUnsupported }
            return address
        }
        func register0(promise: EventLoopPromise<Void>?) { promise?.succeed(()) }
        func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) { promise?.succeed(()) }
        func bind0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
            promise?.fail(ChannelError.operationUnsupported)
        }
        func connect0(to: SocketAddress, promise: EventLoopPromise<Void>?) {
            promise?.fail(ChannelError.operationUnsupported)
        }
        func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
            promise?.fail(ChannelError.operationUnsupported)
        }
        func read0() {}

        func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
            var buffer = unwrapData(data, as: ByteBuffer.self)
            if output.readableBytes == 0 { output = buffer } else { output.writeBuffer(&buffer) }
            promise?.succeed(())
        }

        func flush0() {}

        func channelRead0(_ data: NIOAny) {
            var buffer = unwrapData(data, as: ByteBuffer.self)
            if input.readableBytes == 0 { input = buffer } else { input.writeBuffer(&buffer) }
        }

        func errorCaught0(error: any Error) { if failure == nil { failure = "\(error)" } }

        func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            guard isOpen else {
                promise?.fail(ChannelError.alreadyClosed)
                return
            }
            isOpen = false
            isActive = false
            promise?.succeed(())
            line?.syncOperations.fireChannelInactive()
            line?.syncOperations.fireChannelUnregistered()
            // Not at once, since a handler may be the caller.
            loop.execute { [self] in
                if let line { removeHandlers(pipeline: line) }
                closing.succeed(())
            }
        }
    }

    /// An event loop on the caller's thread: `run` executes submitted tasks; scheduled tasks never run.
    ///
    /// SAFETY: `@unchecked Sendable` because the protocol requires it; a loop belongs to its channel, which has one
    /// owner.
    final class CallerEventLoop: EventLoop, @unchecked Sendable {
        private var tasks: [@Sendable () -> Void] = []
        private var cancellations: [@Sendable () -> Void] = []

        func run() {
            while !tasks.isEmpty {
                let these = tasks
                tasks = []
                for task in these { task() }
            }
        }

        /// Cancels the scheduled tasks.
        func cancelAll() {
            let these = cancellations
            cancellations = []
            for cancel in these { cancel() }
        }

        var inEventLoop: Bool { true }
        func execute(_ task: @escaping @Sendable () -> Void) { tasks.append(task) }

        func scheduleTask<T>(deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
            let promise = makePromise(of: T.self)
            cancellations.append { promise.fail(EventLoopError.cancelled) }
            return Scheduled(promise: promise, cancellationTask: {})
        }

        func scheduleTask<T>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
            scheduleTask(deadline: .now() + delay, task)
        }

        func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
            queue.async { callback(nil) }
        }
    }
#endif
