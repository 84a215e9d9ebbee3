import Compression
import Messages
import Platform
import Primitives

/// An outgoing connection to another node: this node sends requests and the other replies.
///
/// 1. Requests follow the hello without waiting for the welcome. Replies come in any order.
/// 2. The bytes of unanswered requests are limited; requests beyond the limit fail at once as overloaded.
/// 3. When the connection ends, every unanswered request fails. None is sent again, because it may have been executed.
///
/// SAFETY: `@unchecked Sendable` because all state is accessed on the connection's loop only.
final class PeerLink: ConnectionHandler, @unchecked Sendable {
    /// Receives the reply to a request, or its failure.
    typealias Answer = (_ id: UInt64, PeerReply) -> Void

    let endpoint: Endpoint
    /// Nil until the connection is open; output written before is sent then.
    private var connection: (any Connection)?
    private let compressor: BlockCompressor?
    private let answer: Answer
    private let ended: (_ refusal: PeerError?, _ wasWelcome: Bool) -> Void
    private let byteLimit: Int
    private var out = ByteWriter(capacity: 4096)
    /// The bytes of each unanswered request.
    private var outstanding: [UInt64: Int] = [:]
    private(set) var outstandingBytes = 0
    private(set) var isWelcome = false
    private(set) var hasEnded = false
    private var refusal: PeerError?

    /// - Parameters:
    ///   - byteLimit: for the bytes of unanswered requests.
    ///   - ended: called once, after the last reply; `refusal` is the reason if the other end refused this node.
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

    /// Sets the connection, which is open or about to open.
    func opened(_ connection: any Connection) {
        self.connection = connection
        if hasEnded { connection.closeAfterOutput() } else { connection.markReady() }
    }

    /// Sends a request. Its reply, or a failure, is passed to `answer`, possibly before this returns.
    /// - Parameters:
    ///   - timeout: microseconds after which the reply is no longer needed.
    ///   - epoch: the metadata epoch that this node knows.
    /// - Returns: the size of the frame in bytes; 0 if it was not sent.
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

    /// Closes the connection; unanswered requests fail.
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
        case .hello, .request:
            throw .malformed("the other end sent a hello or a request on a connection where it should only reply")
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
            refusal.map { .failed(.unknown, $0.description) }
            ?? .failed(.connectionLost, "the connection to \(endpoint) broke")
        for id in lost { answer(id, reply) }
        ended(refusal, isWelcome)
    }
}
