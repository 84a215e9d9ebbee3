import Compression
import Messages
import Platform
import Primitives

/// One connection to another node, on which this node asks and the other answers.
///
/// 1. Requests go out behind the hello without waiting for the welcome; they are answered in any order.
/// 2. Bytes of requests without an answer are bounded: what comes beyond is refused at once, as overloaded.
/// 3. When the connection ends, every request without an answer is told so; none is ever sent again, for it may have been carried out.
///
/// SAFETY: `@unchecked Sendable` because everything is touched on the connection's loop only.
final class PeerLink: ConnectionHandler, @unchecked Sendable {
    /// What is said to whoever sent a request.
    typealias Answer = (_ id: UInt64, PeerReply) -> Void

    let endpoint: Endpoint
    /// nil until it is opened; what is sent before goes out then.
    private var connection: (any Connection)?
    private let compressor: BlockCompressor?
    private let answer: Answer
    private let ended: (_ refusal: PeerError?, _ wasWelcome: Bool) -> Void
    private let byteLimit: Int
    private var out = ByteWriter(capacity: 4096)
    /// Bytes of each request that has no answer.
    private var outstanding: [UInt64: Int] = [:]
    private(set) var outstandingBytes = 0
    private(set) var isWelcome = false
    private(set) var hasEnded = false
    private var refusal: PeerError?

    /// - Parameters:
    ///   - byteLimit: of requests without an answer.
    ///   - ended: called once, after the last answer; with the reason when the other end refused this node.
    init(
        endpoint: Endpoint, hello: PeerHello, compresses: Bool, byteLimit: Int, answer: @escaping Answer,
        ended: @escaping (_ refusal: PeerError?, _ wasWelcome: Bool) -> Void
    ) {
        self.endpoint = endpoint
        self.byteLimit = byteLimit
        self.answer = answer
        self.ended = ended
        compressor = compresses ? BlockCompressor(.lz4) : nil
        PeerFrame.write(.hello, into: &out) { hello.encode(into: &$0) }
    }

    /// The connection is there, or on its way.
    func opened(_ connection: any Connection) {
        self.connection = connection
        if hasEnded { connection.closeAfterOutput() } else { connection.markReady() }
    }

    /// Sends a request; its answer, or why there will be none, comes by `answer`, perhaps before this returns.
    /// - Parameters:
    ///   - timeout: microseconds after which nobody waits for the answer.
    ///   - epoch: of the metadata that this node knows.
    /// - Returns: bytes of its frame; 0 when it was not sent.
    func send(_ request: PeerRequest, id: UInt64, timeout: Int64, epoch: UInt64) -> Int {
        func refuse(_ reason: FailureReason, _ why: String) -> Int {
            answer(id, .failed(reason, why))
            return 0
        }
        if hasEnded { return refuse(.connectionLost, "the connection to \(endpoint) has ended") }
        let start = out.count
        let fits = PeerFrame.write(.request, compressor: compressor, into: &out) { out in
            out.writeLE(id)
            out.writeVarint(UInt64(max(0, timeout)))
            out.writeVarint(epoch)
            request.encode(into: &out)
        }
        guard fits else { return refuse(.unknown, "a request is longer than \(PeerFrame.largestPayload) bytes") }
        let bytes = out.count - start
        guard outstandingBytes + bytes <= byteLimit || outstanding.isEmpty else {
            out.truncate(to: start)
            return refuse(.overloaded, "\(outstandingBytes) bytes of requests wait for \(endpoint)")
        }
        outstanding[id] = bytes
        outstandingBytes += bytes
        connection?.markReady()
        return bytes
    }

    /// Ends the connection: who waits for an answer is told.
    func close() {
        connection?.closeAfterOutput()
        closed()
    }

    var isPaused: Bool { false }

    func receive(_ input: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        do throws(PeerError) {
            while !hasEnded {
                let found = try PeerFrame.next(UnsafeRawBufferPointer(rebasing: input[consumed...]))
                switch found {
                case .needMore: return consumed
                case .frame(let kind, let body, let count):
                    consumed += count
                    try handle(kind, body)
                case .unpacked(let kind, let body, let count):
                    consumed += count
                    try body.withUnsafeBytesTyped { (raw) throws(PeerError) in try handle(kind, raw) }
                }
            }
        } catch {
            refusal = error
            close()
        }
        return input.count
    }

    private func handle(_ kind: PeerFrame.Kind, _ body: UnsafeRawBufferPointer) throws(PeerError) {
        var reader = ByteReader(body)
        switch kind {
        case .welcome: isWelcome = true
        case .refusal: throw .refused(String(decoding: body.prefix(1024), as: UTF8.self))
        case .reply:
            let id: UInt64
            let reply: PeerReply
            do throws(ByteError) {
                id = try reader.readLE()
                reply = try PeerReply(from: &reader)
            } catch { throw .malformed("an answer does not parse: \(error)") }
            guard let bytes = outstanding.removeValue(forKey: id) else { return }
            outstandingBytes -= bytes
            answer(id, reply)
        case .hello, .request: throw .malformed("the other end asks where it should answer")
        }
    }

    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {
        body(out.bytes)
        if out.count > 1 << 20 { out = ByteWriter(capacity: 4096) } else { out.removeAll() }
    }

    func inputEnded(_ rest: UnsafeRawBufferPointer) { close() }

    func encryptionFailed(_ failure: EncryptionFailure) {
        refusal = .encryption(failure.reason)
        close()
    }

    func closed() {
        if hasEnded { return }
        hasEnded = true
        let lost = outstanding.keys.sorted()
        outstanding = [:]
        outstandingBytes = 0
        let reply: PeerReply =
            refusal.map { .failed(.unknown, $0.description) } ?? .failed(.connectionLost, "the connection to \(endpoint) broke")
        for id in lost { answer(id, reply) }
        ended(refusal, isWelcome)
    }
}
