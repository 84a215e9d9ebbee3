import DataModel
import NativeProtocol
import Primitives
import TLS

/// The address of the server and the parameters of the connection.
public struct ConnectionOptions: Sendable {
    public var host = "127.0.0.1"
    public var port: UInt16 = 9042
    /// Credentials, sent when the server requests authentication.
    public var user: String?
    public var password: String?
    /// nil: try version 5, then 4 if the server does not support it.
    public var version: ProtocolVersion?
    public var compression = FrameCompression.none
    public var connectTimeout: Duration = .seconds(5)
    /// The timeout for an answer; nil: none.
    public var requestTimeout: Duration? = .seconds(60)
    /// The largest frame accepted, in bytes.
    public var maxFrameBytes = FrameDecoder.absoluteMaxFrameBytes
    public var driverName = "auspex"
    /// Encrypts the connection; nil: unencrypted.
    public var tls: TLSContext?

    public init() {}
}

/// A connection to a CQL server, for tools. Requests are collected and sent together; answers are pulled.
///
/// 1. `enqueue` appends a request without sending it.
/// 2. `flush` sends the appended requests. Meanwhile it reads what the server sends, so that neither side blocks the
///    other.
/// 3. `nextBuffered` returns the next answer that has arrived; `fill` waits for more bytes.
///
/// The simple calls (`Connection+Statements`) do all of this for a single request.
///
/// **Thread safety**: one owner.
public final class Connection {
    public let options: ConnectionOptions
    public private(set) var version: ProtocolVersion
    /// The server's `host:port`, for messages.
    public var address: String { socket.address }

    let socket: Socket
    /// nil: the connection is unencrypted.
    private var tls: TLSSession?
    public private(set) var encoder: RequestEncoder
    private var decoder: FrameDecoder
    private var segments: SegmentEncoder?
    /// Frames not sent yet, and their encoding as protocol segments.
    private var frames = ByteWriter(capacity: 64 << 10)
    private var wire = ByteWriter(capacity: 64 << 10)
    var received = ReceiveBuffer()
    /// Encrypted bytes received; grows only on an encrypted connection.
    var encrypted = ReceiveBuffer(capacity: 64)
    private var nextStream: Int16 = 0

    /// Connects and performs the protocol handshake.
    public static func open(_ options: ConnectionOptions) throws(ClientError) -> Connection {
        if let version = options.version { return try Connection(options, version) }
        do {
            return try Connection(options, .v5)
        } catch {
            guard case .server(let refusal) = error, refusal.code == .protocolError else { throw error }
            return try Connection(options, .v4)
        }
    }

    private init(_ options: ConnectionOptions, _ version: ProtocolVersion) throws(ClientError) {
        self.options = options
        self.version = version
        socket = try Socket(host: options.host, port: options.port, timeout: options.connectTimeout)
        socket.setReadTimeout(options.requestTimeout)
        encoder = RequestEncoder(version: version)
        decoder = FrameDecoder(direction: .responses, maxFrameBytes: options.maxFrameBytes)
        if let context = options.tls { tls = try beginEncryption(context) }
        try shakeHands()
    }

    private func shakeHands() throws(ClientError) {
        var startup = ["CQL_VERSION": "3.0.0", "DRIVER_NAME": options.driverName, "DRIVER_VERSION": "1"]
        if options.compression != .none { startup["COMPRESSION"] = options.compression.name }
        encoder.startup(StartupOptions(all: startup), stream: 0, into: &frames)
        try flush()
        let answer = try response(stream: 0)
        let compression = options.compression
        switch version {
        case .v5:
            decoder.beginSegments(compression: compression)
            segments = SegmentEncoder(compression: compression)
        case .v4: decoder.compression = compression
        }
        switch answer.response {
        case .ready: return
        case .authenticate: try authenticate()
        case .error(let error): throw .server(error)
        default: throw .protocolViolation("STARTUP was answered with neither READY nor AUTHENTICATE")
        }
    }

    private func authenticate() throws(ClientError) {
        guard let user = options.user, let password = options.password else {
            throw .server(ServerError(.badCredentials, "the server asks for a user and a password; give both"))
        }
        encoder.authResponse([0] + Array(user.utf8) + [0] + Array(password.utf8), stream: 0, into: &frames)
        try flush()
        switch try response(stream: 0).response {
        case .authSuccess: return
        case .error(let error): throw .server(error)
        default: throw .protocolViolation("AUTH_RESPONSE was not answered with AUTH_SUCCESS")
        }
    }

    /// Whether the server is asked to trace the requests enqueued from now on.
    public var tracing: Bool {
        get { encoder.tracing }
        set { encoder.tracing = newValue }
    }

    /// Appends requests that the next `flush` sends.
    @inline(__always) public func enqueue(_ body: (RequestEncoder, inout ByteWriter) -> Void) { body(encoder, &frames) }

    /// The number of bytes appended and not sent.
    public var pendingBytes: Int { frames.count }

    /// Returns the next stream id for a simple call.
    func takeStream() -> Int16 {
        nextStream = nextStream == Int16.max ? 0 : nextStream + 1
        return nextStream
    }

    /// Sends the enqueued requests.
    public func flush() throws(ClientError) {
        if segments != nil {
            segments?.encode(frames.bytes, into: &wire)
            frames.removeAll()
            try send(wire.bytes)
            wire.removeAll()
        } else {
            try send(frames.bytes)
            frames.removeAll()
        }
    }

    private func send(_ bytes: UnsafeRawBufferPointer) throws(ClientError) {
        guard let tls else { return try sendToSocket(bytes) }
        tls.send(bytes)
        try sendEncrypted(tls)
    }

    func sendToSocket(_ bytes: UnsafeRawBufferPointer) throws(ClientError) {
        var sent = 0
        while sent < bytes.count {
            switch try socket.write(UnsafeRawBufferPointer(rebasing: bytes[sent...])) {
            case .moved(let count): sent += count
            case .ended: throw .closed(address: address, reason: "closed by the server")
            case .notReady:
                guard try socket.wait(forRoom: true, timeout: options.requestTimeout) else { throw timedOut() }
                _ = try read(isWaiting: false)
            }
        }
    }

    /// Reads available bytes; returns false when there were none.
    private func read(isWaiting: Bool) throws(ClientError) -> Bool {
        if let tls { return try readEncrypted(tls, isWaiting: isWaiting) }
        let outcome = try received.fill(wanted: 32 << 10) {
            (room) throws(ClientError) -> (count: Int, result: Socket.Outcome) in
            let outcome = try socket.read(into: room, isWaiting: isWaiting)
            if case .moved(let count) = outcome { return (count, outcome) }
            return (0, outcome)
        }
        switch outcome {
        case .moved: return true
        case .notReady: return false
        case .ended: throw .closed(address: address, reason: "closed by the server")
        }
    }

    func timedOut() -> ClientError { .timeout(address: address, after: options.requestTimeout ?? .zero) }

    /// Returns the next answer that has arrived completely; nil when there is none. Its body is valid until the next
    /// call on this connection.
    public func nextBuffered() throws(ClientError) -> Frame? {
        received.discard(consumed)
        consumed = 0
        do throws(ProtocolError) {
            return try decoder.next(received.bytes, consumed: &consumed)
        } catch {
            throw .protocolViolation(error.message)
        }
    }

    /// The size of the answer returned last, in bytes.
    private var consumed = 0

    /// Waits until more bytes arrive.
    public func fill() throws(ClientError) {
        received.discard(consumed)
        consumed = 0
        guard try read(isWaiting: true) else { throw timedOut() }
    }

    /// Waits at most `timeout` until more bytes arrive; returns false when none did.
    public func fill(atMost timeout: Duration) throws(ClientError) -> Bool {
        received.discard(consumed)
        consumed = 0
        if try read(isWaiting: false) { return true }
        guard try socket.wait(timeout: timeout) else { return false }
        return try read(isWaiting: false)
    }

    /// Returns the answer on `stream`. Drops others: events, and answers that are no longer awaited.
    func response(stream: Int16, known: ResultMetadata? = nil) throws(ClientError) -> ReceivedResponse {
        while true {
            while let frame = try nextBuffered() {
                guard frame.header.stream == stream else { continue }
                return try Connection.decoded(frame, known: known)
            }
            try fill()
        }
    }

    /// Decodes an answer.
    public static func decoded(_ frame: Frame, known: ResultMetadata? = nil) throws(ClientError) -> ReceivedResponse {
        do throws(ServerError) {
            return try ResponseDecoder.decode(frame, known: known)
        } catch {
            throw .protocolViolation(error.message)
        }
    }
}
