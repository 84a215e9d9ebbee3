import Compression
import Messages
import Platform
import Primitives

/// An incoming connection, on which another node sends requests.
///
/// 1. The first frame must be a hello that this node accepts.
/// 2. Each request is executed as it arrives, on a fiber of the connection's loop. Replies are sent in any order.
/// 3. A reply is sent once the writes it depends on are as safe as the commit log mode promises. If the log fails, the
///    replies of the tick become failures.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on the connection's loop only; closures from other
/// threads switch to it first.
final class PeerSession: ConnectionHandler, SafetyWaiter, @unchecked Sendable {
    private let connection: any Connection
    private let host: any PeerHost
    private var compressor: BlockCompressor?
    private var peer: PeerHello?
    private var out = ByteWriter(capacity: 4096)
    /// The ids of the requests answered in this tick.
    private var answered: [UInt64] = []
    private var waiting = 0
    private var waitingBytes = 0
    private var hasEnded = false

    static let pauseOutputBytes = 4 << 20
    /// Limits on a connection's requests in progress, by number and bytes; beyond them no more are read.
    static let waitingLimit = 4096
    static let waitingBytesLimit = 64 << 20

    init(connection: any Connection, host: any PeerHost) {
        self.connection = connection
        self.host = host
    }

    var isPaused: Bool {
        out.count >= PeerSession.pauseOutputBytes || waiting >= PeerSession.waitingLimit
            || waitingBytes >= PeerSession.waitingBytesLimit
    }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        if hasEnded { return input.count }
        do throws(PeerError) {
            if peer == nil { try PeerFrame.checkOpening(input) }
            loop: while !isPaused && !hasEnded {
                let found = try PeerFrame.next(
                    UnsafeRawBufferPointer(rebasing: input[consumed...]),
                    atMost: peer == nil ? PeerFrame.largestHello : PeerFrame.largestPayload)
                switch found {
                case .needMore: break loop
                case .frame(let kind, let body, let count):
                    consumed += count
                    try handle(kind, body)
                case .unpacked(let kind, let body, let count):
                    consumed += count
                    try body.withUnsafeBytesTyped { (raw) throws(PeerError) in try handle(kind, raw) }
                }
            }
        } catch {
            refuse(error.description)
            return input.count
        }
        if out.count > 0 { connection.markReady() }
        return consumed
    }

    /// Logs the reason, sends it to the other end, and ends the connection.
    private func refuse(_ why: String) {
        hasEnded = true
        host.peerRefused(name, why)
        PeerFrame.write(.refusal, into: &out) { $0.write(why) }
        connection.closeAfterOutput()
    }

    /// The other end, for log lines. Before the hello, leaves out the port: it differs with every attempt.
    private var name: String {
        if let peer { return peer.endpoint.description }
        return connection.peer.lastIndex(of: ":").map { String(connection.peer[..<$0]) } ?? connection.peer
    }

    func encryptionFailed(_ failure: EncryptionFailure) {
        if failure.otherIsPlain { return refuse(PeerSession.plainRefusal) }
        hasEnded = true
        host.peerRefused(name, failure.reason)
    }

    static let plainRefusal =
        "this node takes only TLS connections of other nodes, and this one is plain; set server_encryption_options on the connecting node, "
        + "or optional: true on this node during the change"

    private func handle(_ kind: PeerFrame.Kind, _ body: UnsafeRawBufferPointer) throws(PeerError) {
        var reader = ByteReader(body)
        switch kind {
        case .hello:
            let hello = try PeerHello(from: &reader)
            peer = hello
            try host.welcome(hello)
            if host.compresses(hello.endpoint) { compressor = BlockCompressor(.lz4) }
            let id = host.hostID
            PeerFrame.write(.welcome, into: &out) { $0.write(id) }
        case .request:
            guard let peer else { throw .malformed("a request before the hello") }
            try execute(&reader, peer, bytes: body.count)
        case .welcome, .refusal, .reply:
            throw .malformed("the other end sent a reply on a connection where it should only send requests")
        }
    }

    private func execute(_ reader: inout ByteReader, _ peer: PeerHello, bytes: Int) throws(PeerError) {
        let id: UInt64
        let timeout: UInt64
        let epoch: UInt64
        let request: PeerRequest
        do throws(ByteError) {
            id = try reader.readLE()
            timeout = try reader.readVarint()
            epoch = try reader.readVarint()
            request = try PeerRequest(from: &reader)
        } catch { throw .malformed("a request does not parse: \(error)") }
        waiting += 1
        if host.writeAtOnce(request, from: peer, epoch: epoch, loop: connection.loop, for: self, token: id) { return }
        waitingBytes += bytes
        host.execute(request, from: peer, epoch: epoch, timeout: Int64(clamping: timeout), loop: connection.loop) {
            [self] reply in
            finish(id, reply, bytes: bytes)
        }
    }

    func writesAreSafe(_ token: UInt64, failure: String?) {
        finish(token, failure.map(PeerReply.logFailed) ?? .done, bytes: 0)
    }

    /// - Parameter bytes: of the request, as far as `waitingBytes` has them.
    private func finish(_ id: UInt64, _ reply: PeerReply, bytes: Int) {
        waiting -= 1
        waitingBytes -= bytes
        if hasEnded { return }
        answer(id, reply)
        connection.markReady()
        if waiting == PeerSession.waitingLimit - 1 || waitingBytes + bytes >= PeerSession.waitingBytesLimit {
            connection.onLoop { [connection] in connection.resumeInput() }
        }
    }

    private func answer(_ id: UInt64, _ reply: PeerReply) {
        func write(_ reply: PeerReply) -> Bool {
            PeerFrame.write(.reply, compressor: compressor, into: &out) { out in
                out.writeLE(id)
                reply.encode(into: &out)
            }
        }
        if !write(reply) { _ = write(.failed(.unknown, "the answer is longer than \(PeerFrame.largestPayload) bytes")) }
        answered.append(id)
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        if let failure, !answered.isEmpty {
            out.removeAll()
            let ids = answered
            for id in ids { answer(id, .logFailed(failure)) }
        }
        answered.removeAll(keepingCapacity: true)
        body(out.bytes)
        if out.count > PeerSession.pauseOutputBytes { out = ByteWriter(capacity: 4096) } else { out.removeAll() }
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) {
        hasEnded = true
        connection.closeAfterOutput()
    }

    func closed() {
        hasEnded = true
        host.peerConnectionClosed(connection)
    }
}

/// The node's services for a session; called on the session's loop.
protocol PeerHost: AnyObject, Sendable {
    var hostID: UUID { get }
    /// - Throws: the reason why the node is rejected.
    func welcome(_ hello: PeerHello) throws(PeerError)
    func compresses(_ endpoint: Endpoint) -> Bool
    /// Executes a write that need not wait.
    /// - Parameters:
    ///   - epoch: the metadata epoch that the requesting node knows.
    ///   - session: told, with `token`, when the write may be acknowledged.
    /// - Returns: false, with nothing done, when `execute` must be called.
    func writeAtOnce(
        _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, loop: Int, for session: PeerSession, token: UInt64
    ) -> Bool
    /// Executes a request. Calls `done` on the loop, once, possibly before this returns.
    /// - Parameters:
    ///   - epoch: the metadata epoch that the requesting node knows.
    ///   - timeout: microseconds after which the reply is no longer needed.
    func execute(
        _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, timeout: Int64, loop: Int,
        _ done: @escaping @Sendable (PeerReply) -> Void)
    func peerRefused(_ peer: String, _ why: String)
    func peerConnectionClosed(_ connection: any Connection)
}
