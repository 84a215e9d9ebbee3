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
    /// The unanswered requests.
    private var outstanding = OutstandingRequests()
    var outstandingBytes: Int { outstanding.bytes }
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
        let wireID = outstanding.nextWireID
        let fits = PeerFrame.write(.request, compressor: compressor, into: &out) { out in
            out.writeLE(wireID)
            out.writeVarint(UInt64(max(0, timeout)))
            out.writeVarint(epoch)
            request.encode(into: &out)
        }
        guard fits else { return refuse(.unknown, "a request is longer than \(PeerFrame.largestPayload) bytes") }
        let bytes = out.count - start
        guard outstanding.bytes + bytes <= byteLimit || outstanding.isEmpty else {
            out.truncate(to: start)
            return refuse(.overloaded, "\(outstandingBytes) bytes of requests wait for \(endpoint)")
        }
        outstanding.add(id, bytes: bytes)
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
            let wireID: UInt64
            let reply: PeerReply
            do throws(ByteError) {
                wireID = try reader.readLE()
                reply = try PeerReply(from: &reader)
            } catch { throw .malformed("an answer does not parse: \(error)") }
            guard let id = outstanding.remove(wireID) else { return }
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
        let lost = outstanding.removeAll()
        let reply: PeerReply =
            refusal.map { .failed(.unknown, $0.description) }
            ?? .failed(.connectionLost, "the connection to \(endpoint) broke")
        for id in lost { answer(id, reply) }
        ended(refusal, isWelcome)
    }
}

/// The unanswered requests of a connection. On the wire a request is named by its place in this table, so that its
/// reply is found without a search.
///
///     wire id := generation of the place (32 bits) place (32 bits)
private struct OutstandingRequests {
    private struct Entry {
        var id: UInt64 = 0
        var bytes = 0
        var generation: UInt32 = 0
        var isUsed = false
    }

    private var entries: ContiguousArray<Entry> = []
    private var free: [UInt32] = []
    /// Of all requests.
    private(set) var bytes = 0

    var isEmpty: Bool { free.count == entries.count }

    /// The wire id of the request that is added next.
    var nextWireID: UInt64 {
        guard let place = free.last else { return UInt64(entries.count) }
        return UInt64(entries[Int(place)].generation) << 32 | UInt64(place)
    }

    mutating func add(_ id: UInt64, bytes: Int) {
        if free.isEmpty {
            free.append(UInt32(entries.count))
            entries.append(Entry())
        }
        let place = Int(free.removeLast())
        entries[place].id = id
        entries[place].bytes = bytes
        entries[place].isUsed = true
        self.bytes += bytes
    }

    /// Removes the request with that wire id and returns its id; nil when there is none.
    mutating func remove(_ wireID: UInt64) -> UInt64? {
        let place = Int(UInt32(truncatingIfNeeded: wireID))
        guard place < entries.count, entries[place].isUsed, entries[place].generation == UInt32(wireID >> 32) else {
            return nil
        }
        bytes -= entries[place].bytes
        entries[place].isUsed = false
        entries[place].generation &+= 1
        free.append(UInt32(place))
        return entries[place].id
    }

    /// Removes all requests and returns their ids in ascending order.
    mutating func removeAll() -> [UInt64] {
        let ids = entries.filter(\.isUsed).map(\.id).sorted()
        self = OutstandingRequests()
        return ids
    }
}
