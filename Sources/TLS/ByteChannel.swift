#if TLS
    import Dispatch
    import NIOCore
    import NIOTLS

    /// A channel without a socket, for the encrypting handler alone: what it would send stands in `output`, what it decrypted in `input`.
    ///
    /// SAFETY: `@unchecked Sendable` because the protocol wants it; a channel belongs to its session, which has one owner.
    final class ByteChannel: Channel, ChannelCore, @unchecked Sendable {
        var output = ByteBuffer()
        var input = ByteBuffer()
        /// Why the connection cannot go on.
        var failure: String?
        private(set) var isEstablished = false
        private(set) var isActive = false
        private var isOpen = true
        private let loop = CallersLoop()
        private let address: SocketAddress?
        private let closing: EventLoopPromise<Void>
        private var line: ChannelPipeline?

        init(host: String) {
            closing = loop.makePromise()
            // Only an address is looked for in a certificate by the channel's own.
            do { address = try SocketAddress(ipAddress: host, port: 0) } catch { address = ByteChannel.noAddress }
        }

        private static let noAddress: SocketAddress? = {
            do { return try SocketAddress(ipAddress: "0.0.0.0", port: 0) } catch { return nil }
        }()

        /// Puts the handlers in and begins.
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

        /// Takes the handlers out, which know the channel.
        func end() {
            close0(error: ChannelError.ioOnClosedChannel, mode: .all, promise: nil)
            loop.run()
            loop.cancelAll()
            line = nil
        }

        /// Hears that the other end has shown who it is.
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
            guard let line else { preconditionFailure("a channel that was not opened, or has ended") }
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
        func bind0(to: SocketAddress, promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }
        func connect0(to: SocketAddress, promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }
        func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }
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
            // Not at once: a handler may be what closes.
            loop.execute { [self] in
                if let line { removeHandlers(pipeline: line) }
                closing.succeed(())
            }
        }
    }

    /// An event loop that is whoever calls: what is to be done later is done by `run`, what is to be done at a time never.
    ///
    /// SAFETY: `@unchecked Sendable` because the protocol wants it; a loop belongs to its channel, which has one owner.
    final class CallersLoop: EventLoop, @unchecked Sendable {
        private var tasks: [@Sendable () -> Void] = []
        private var cancellations: [@Sendable () -> Void] = []

        func run() {
            while !tasks.isEmpty {
                let these = tasks
                tasks = []
                for task in these { task() }
            }
        }

        /// Ends what waits for a time.
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
