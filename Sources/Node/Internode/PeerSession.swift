import Compression
import Messages
import Platform
import Primitives

/// One connection on which another node asks.
///
/// 1. The first frame must be a hello that this node welcomes.
/// 2. Requests are carried out as they come, on the loop where that needs no waiting, and answered in any order.
/// 3. An answer leaves when what it rests on is as safe as the commit log's mode promises. If the log fails, the answers of the tick are failures.
///
/// SAFETY: `@unchecked Sendable` because everything is touched on the connection's loop only; closures that come from elsewhere hop there first.
final class PeerSession: ConnectionHandler, @unchecked Sendable {
    private let connection: any Connection
    private let host: any PeerHost
    private var compressor: BlockCompressor?
    private var peer: PeerHello?
    private var out = ByteWriter(capacity: 4096)
    /// Requests answered this tick.
    private var answered: [UInt64] = []
    private var waiting = 0
    private var waitingBytes = 0
    private var hasEnded = false

    static let pauseOutputBytes = 4 << 20
    /// Requests of one connection that are being carried out, and their bytes, beyond which no more are read.
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

    /// Says why, here and there, and ends the connection.
    private func refuse(_ why: String) {
        hasEnded = true
        host.peerRefused(name, why)
        PeerFrame.write(.refusal, into: &out) { $0.write(why) }
        connection.closeAfterOutput()
    }

    /// The other end, for people: its port says nothing before the hello, and would make every attempt another one.
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
        "this node takes only TLS connections of other nodes, and this one is plain; set server_encryption_options on the node that connects, "
        + "or optional: true in those of this one while they are changed over"

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
        case .welcome, .refusal, .reply: throw .malformed("the other end answers where it should ask")
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
        waitingBytes += bytes
        host.execute(request, from: peer, epoch: epoch, timeout: Int64(clamping: timeout), loop: connection.loop) { [self] reply in
            waiting -= 1
            waitingBytes -= bytes
            if hasEnded { return }
            answer(id, reply)
            connection.markReady()
            if waiting == PeerSession.waitingLimit - 1 || waitingBytes + bytes >= PeerSession.waitingBytesLimit {
                connection.onLoop { [connection] in connection.resumeInput() }
            }
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
            for id in ids { answer(id, .failed(.storage, "the commit log failed: \(failure)")) }
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

/// What a session asks of its node; on the session's loop.
protocol PeerHost: AnyObject, Sendable {
    var hostID: UUID { get }
    /// - Throws: why the node is not welcome.
    func welcome(_ hello: PeerHello) throws(PeerError)
    func compresses(_ endpoint: Endpoint) -> Bool
    /// Carries a request out; `done` is called on the loop, once, perhaps before this returns.
    /// - Parameters:
    ///   - epoch: of the metadata that the asking node knows.
    ///   - timeout: microseconds after which nobody waits.
    func execute(
        _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, timeout: Int64, loop: Int,
        _ done: @escaping @Sendable (PeerReply) -> Void)
    func peerRefused(_ peer: String, _ why: String)
    func peerConnectionClosed(_ connection: any Connection)
}
