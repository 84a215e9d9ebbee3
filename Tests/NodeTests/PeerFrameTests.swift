import Compression
import Fixtures
import Messages
import Platform
import Primitives
import Synchronization
import Testing

@testable import Node

/// The bytes between nodes. Part of the internode protocol: a change breaks clusters of mixed versions.
@Suite struct PeerFrameTests {
    static let a = UUID(high: 0x1111_2222_3333_4444, low: 0x5555_6666_7777_8888)
    static let b = UUID(high: 0xaaaa_bbbb_cccc_dddd, low: 1)
    static let endpoint = Endpoint(address: "10.0.0.1", port: 7000)
    static let hello = PeerHello(clusterName: "c", hostID: a, endpoint: endpoint, wanted: b)

    static let helloFrame =
        "340000008cef472299284a0901004158494e020163111122223333444455556666777788880831302e302e302e"
        + "31d836aaaabbbbccccdddd0000000000000001"
    static let welcomeFrame = "12000000697e1da5cc8d288b0200aaaabbbbccccdddd0000000000000001"
    static let refusalFrame = "05000000a691f09cdbbe277d0300776879"
    static let requestFrame = "14000000176e3110b18f6bca0400070000000000000080897aac020c03010203"
    static let replyFrame = "0f000000820c8e6c4148f875050007000000000000000700040178"

    static func frame(_ kind: PeerFrame.Kind, compressor: BlockCompressor? = nil, _ body: [UInt8]) -> [UInt8] {
        var out = ByteWriter()
        PeerFrame.write(kind, compressor: compressor, into: &out) { $0.write(body) }
        return out.toArray()
    }

    /// Returns the frame at the front; nil when more bytes are needed.
    static func next(_ bytes: [UInt8]) throws(PeerError) -> (kind: PeerFrame.Kind, body: [UInt8], count: Int)? {
        try bytes.withUnsafeBytesTyped {
            (raw) throws(PeerError) -> (kind: PeerFrame.Kind, body: [UInt8], count: Int)? in
            switch try PeerFrame.next(raw) {
            case .needMore: return nil
            case .frame(let kind, let body, let count): return (kind, [UInt8](body), count)
            case .unpacked(let kind, let body, let count): return (kind, body, count)
            }
        }
    }

    static func hello(_ bytes: [UInt8]) throws(PeerError) -> PeerHello {
        try bytes.withUnsafeBytesTyped { (raw) throws(PeerError) in
            var reader = ByteReader(raw)
            return try PeerHello(from: &reader)
        }
    }

    static let request = PeerRequest.gossip([1, 2, 3])
    static let requestBody = encoded { out in
        out.writeLE(UInt64(7))
        out.writeVarint(UInt64(2_000_000))
        out.writeVarint(UInt64(300))
        request.encode(into: &out)
    }
    static let replyBody = encoded { out in
        out.writeLE(UInt64(7))
        PeerReply.failed(.overloaded, "x").encode(into: &out)
    }
    static let frames: [(kind: PeerFrame.Kind, body: [UInt8], golden: String)] = [
        (.hello, encoded { hello.encode(into: &$0) }, helloFrame), (.welcome, encoded { $0.write(b) }, welcomeFrame),
        (.refusal, Array("why".utf8), refusalFrame), (.request, requestBody, requestFrame),
        (.reply, replyBody, replyFrame),
    ]

    @Test func goldenFrames() throws {
        for (kind, body, golden) in Self.frames {
            #expect(hex(Self.frame(kind, body)) == golden, "\(kind)")
            let found = try #require(try Self.next(Fixtures.bytes(golden)), "\(kind)")
            #expect(found.kind == kind && found.body == body && found.count == golden.count / 2, "\(kind)")
        }
        #expect(try Self.hello(Self.frames[0].body) == Self.hello)
        var anyone = Self.hello
        anyone.wanted = nil
        #expect(try Self.hello(encoded { anyone.encode(into: &$0) }) == anyone)
    }

    /// A compressed body, written by hand: LZ4 of five literals.
    @Test func goldenCompressedFrame() throws {
        let packed: [UInt8] = [0x05, 0, 0, 0, 0x50, 1, 2, 3, 4, 5]
        var out = ByteWriter()
        let payload = [5, 1] + packed
        out.writeLE(UInt32(payload.count))
        out.writeLE(Checksum.xxh3(payload))
        out.write(payload)
        #expect(hex(out.toArray()) == "0c0000003fe047923e15a582050105000000500102030405")
        let found = try #require(try Self.next(out.toArray()))
        #expect(found.kind == .reply && found.body == [1, 2, 3, 4, 5] && found.count == out.count)
        // What the encoder compresses comes back, and states the length of its body.
        let body = [UInt8](repeating: 9, count: PeerFrame.compressedFrom)
        let frame = Self.frame(.reply, compressor: BlockCompressor(.lz4), body)
        #expect(frame.count < 100 && Array(frame[12...17]) == [5, 1, 0, 0x10, 0, 0])
        let unpacked = try #require(try Self.next(frame))
        #expect(unpacked.kind == .reply && unpacked.body == body && unpacked.count == frame.count)
        #expect(Self.frame(.reply, compressor: BlockCompressor(.lz4), Array(body.dropLast()))[13] == 0)
    }

    @Test func truncatedFrameWaitsForMore() throws {
        for (_, _, golden) in Self.frames {
            let bytes = Fixtures.bytes(golden)
            for length in 0..<bytes.count { #expect(try Self.next(Array(bytes[..<length])) == nil, "\(length) bytes") }
            #expect(try Self.next(bytes + [0xff])?.count == bytes.count)
        }
    }

    /// A flipped bit in a frame is found; in the length it may only make the reader wait for more bytes.
    @Test func everyFlippedBitOfAFrameIsDetected() {
        let packed = Self.frame(.reply, compressor: BlockCompressor(.lz4), [UInt8](repeating: 9, count: 8000))
        for bytes in Self.frames.map({ Fixtures.bytes($0.golden) }) + [packed] {
            for bit in 0..<bytes.count * 8 {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                do throws(PeerError) {
                    let found = try Self.next(flipped)
                    #expect(bit < 32 && found == nil, "bit \(bit)")
                } catch {
                    guard case .malformed = error else {
                        Issue.record("bit \(bit): \(error)")
                        continue
                    }
                }
            }
        }
    }

    /// Payloads whose checksum matches, because their sender computed it over the damage.
    @Test func damagedPayloadsAreRefusedOrUnchanged() throws {
        for (kind, body, _) in Self.frames {
            for bit in 0..<16 {
                var payload = [kind.rawValue, 0] + body
                payload[bit / 8] ^= 1 << UInt8(bit % 8)
                var out = ByteWriter()
                out.writeLE(UInt32(payload.count))
                out.writeLE(Checksum.xxh3(payload))
                out.write(payload)
                // Other flags than the first mean nothing yet.
                if let found = try? Self.next(out.toArray()) { #expect(found.body == body, "\(kind) bit \(bit)") }
            }
        }
        for packed in [[], [0, 0, 0], [0xff, 0xff, 0xff, 0xff], [5, 0, 0, 0], [5, 0, 0, 0, 0x50, 1]] as [[UInt8]] {
            let payload = [4, 1] + packed
            var out = ByteWriter()
            out.writeLE(UInt32(payload.count))
            out.writeLE(Checksum.xxh3(payload))
            out.write(payload)
            #expect(throws: PeerError.self, "\(packed)") { try Self.next(out.toArray()) }
        }
        for length in [0, 1, PeerFrame.largestPayload + 1, Int(UInt32.max)] as [Int] {
            let head =
                withUnsafeBytes(of: UInt32(length).littleEndian) { [UInt8]($0) } + [UInt8](repeating: 0, count: 8)
            #expect(throws: PeerError.self, "\(length)") { try Self.next(head) }
        }
    }

    /// Payloads with several changes, whose checksum matches: whatever they hold is refused or read.
    @Test(arguments: 0..<8 as Range<UInt64>) func changedPayloadsNeverTrap(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        let compressed = Self.frame(.reply, compressor: BlockCompressor(.lz4), [UInt8](repeating: 9, count: 5000))
        let valid = Self.frames.map { Self.frame($0.kind, $0.body) } + [compressed]
        for _ in 0..<2000 {
            var payload = Array(valid[below(valid.count)].dropFirst(PeerFrame.headBytes))
            for _ in 0...below(4) {
                let place = below(payload.count)
                switch below(4) {
                case 0: payload[place] ^= 1 << UInt8(below(8))
                case 1: payload[place] = [0, 1, 0x7f, 0x80, 0xff][below(5)]
                case 2: payload.insert(contentsOf: payload[place...].prefix(8), at: below(payload.count))
                default: payload.removeLast(min(below(4), payload.count - 1))
                }
            }
            var out = ByteWriter()
            out.writeLE(UInt32(payload.count))
            out.writeLE(Checksum.xxh3(payload))
            out.write(payload)
            guard let found = try? Self.next(out.toArray()) else { continue }
            _ = try? Self.hello(found.body)
            found.body.withUnsafeBytes { raw in
                var reader = ByteReader(raw)
                _ = try? reader.skip(min(raw.count, 8))
                _ = try? PeerReply(from: &reader)
                reader.offset = min(raw.count, 13)
                _ = try? PeerRequest(from: &reader)
            }
        }
    }

    @Test func damagedHelloIsRefusedOrDiffers() {
        let body = Self.frames[0].body
        for length in 0..<body.count {
            #expect(throws: PeerError.self, "\(length) bytes") { try Self.hello(Array(body[..<length])) }
        }
        for bit in 0..<body.count * 8 {
            var flipped = body
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            if let other = try? Self.hello(flipped) { #expect(other != Self.hello, "bit \(bit)") }
        }
    }

    // MARK: Handshake

    /// SAFETY: `@unchecked Sendable` because a test uses it on one thread.
    final class Wire: Connection, @unchecked Sendable {
        let peer = "10.0.0.1:40000"
        let loop = 0
        private(set) var isClosing = false
        func onLoop(_ work: @escaping @Sendable () -> Void) { work() }
        func markReady() {}
        func resumeInput() {}
        func closeAfterOutput() { isClosing = true }
    }

    /// Node `b`, which welcomes members of cluster `c` and answers every request with `replyBody`'s reply.
    final class Host: PeerHost {
        let refusals = Mutex<[String]>([])
        let requests = Mutex<[PeerRequest]>([])
        var hostID: UUID { PeerFrameTests.b }
        func welcome(_ hello: PeerHello) throws(PeerError) {
            guard hello.clusterName == "c" else { throw .refused("why") }
        }
        func compresses(_ endpoint: Endpoint) -> Bool { false }
        func writeAtOnce(
            _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, loop: Int, for session: PeerSession,
            token: UInt64
        ) -> Bool { false }
        func execute(
            _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, timeout: Int64, loop: Int,
            _ done: @escaping @Sendable (PeerReply) -> Void
        ) {
            #expect(peer == PeerFrameTests.hello && epoch == 300 && timeout == 2_000_000)
            requests.withLock { $0.append(request) }
            done(.failed(.overloaded, "x"))
        }
        func peerRefused(_ peer: String, _ why: String) { refusals.withLock { $0.append(why) } }
        func peerConnectionClosed(_ connection: any Connection) {}
    }

    private static func output(_ handler: any ConnectionHandler) -> [UInt8] {
        var taken: [UInt8] = []
        handler.takeOutput(failure: nil) { taken = [UInt8]($0) }
        return taken
    }

    private static func pass(_ bytes: [UInt8], to handler: any ConnectionHandler) -> Int {
        bytes.withUnsafeBytes { handler.receive($0) }
    }

    @Test func goldenBytesOfTheAcceptingNode() {
        let (wire, host) = (Wire(), Host())
        let session = PeerSession(connection: wire, host: host)
        let input = Fixtures.bytes(Self.helloFrame + Self.requestFrame)
        for length in 0..<input.count where length < Self.helloFrame.count / 2 {
            #expect(Self.pass(Array(input[..<length]), to: session) == 0)
        }
        #expect(Self.pass(input, to: session) == input.count)
        #expect(hex(Self.output(session)) == Self.welcomeFrame + Self.replyFrame)
        #expect(host.requests.withLock { $0 } == [Self.request] && !wire.isClosing)
    }

    @Test func unwelcomeNodeIsRefused() {
        var stranger = Self.hello
        stranger.clusterName = "d"
        var old = encoded { Self.hello.encode(into: &$0) }
        old[4] = 1
        for (hello, why) in [
            (encoded { stranger.encode(into: &$0) }, "why"),
            (old, "this node speaks version 2 of the internode protocol, the other 1; run one release on all nodes"),
            ([], "the first frame is not a hello of the internode protocol"),
        ] {
            let (wire, host) = (Wire(), Host())
            let session = PeerSession(connection: wire, host: host)
            let input = Self.frame(.hello, hello)
            #expect(Self.pass(input, to: session) == input.count)
            #expect(Self.output(session) == Self.frame(.refusal, Array(why.utf8)))
            #expect(host.refusals.withLock { $0 } == [why] && wire.isClosing)
        }
    }

    @Test func requestBeforeTheHelloIsRefused() {
        let (wire, host) = (Wire(), Host())
        let session = PeerSession(connection: wire, host: host)
        _ = Self.pass(Fixtures.bytes(Self.requestFrame), to: session)
        #expect(wire.isClosing && host.requests.withLock { $0 }.isEmpty)
    }

    @Test func goldenBytesOfTheConnectingNode() {
        var answers: [PeerReply] = []
        var refusal: PeerError?
        let link = PeerLink(
            endpoint: Self.endpoint, hello: Self.hello, compresses: false, byteLimit: 1 << 20,
            answer: { id, reply in answers.append(id == 7 ? reply : .done) }, ended: { why, _ in refusal = why })
        link.opened(Wire())
        _ = link.send(Self.request, id: 7, timeout: 2_000_000, epoch: 300)
        // The link names its first request 0 on the wire, whatever its id.
        let first = [UInt8](repeating: 0, count: 8)
        let request = Self.frame(.request, first + Self.requestBody.dropFirst(8))
        #expect(Self.output(link) == Fixtures.bytes(Self.helloFrame) + request)
        let input = Fixtures.bytes(Self.welcomeFrame) + Self.frame(.reply, first + Self.replyBody.dropFirst(8))
        #expect(Self.pass(input, to: link) == input.count && link.isWelcome)
        #expect(answers == [.failed(.overloaded, "x")] && link.outstandingBytes == 0)
        _ = Self.pass(Fixtures.bytes(Self.refusalFrame), to: link)
        #expect(refusal?.description == "why" && link.hasEnded)
    }

    /// Every flipped bit of what a node answers ends the connection or is a reply; the asking node never traps.
    @Test func damagedAnswerEndsTheConnection() {
        let input = Fixtures.bytes(Self.welcomeFrame + Self.replyFrame)
        for bit in 0..<input.count * 8 {
            var flipped = input
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            var answers: [PeerReply] = []
            let link = PeerLink(
                endpoint: Self.endpoint, hello: Self.hello, compresses: false, byteLimit: 1 << 20,
                answer: { _, reply in answers.append(reply) }, ended: { _, _ in })
            link.opened(Wire())
            _ = link.send(Self.request, id: 7, timeout: 1, epoch: 1)
            _ = Self.pass(flipped, to: link)
            link.closed()
            #expect(answers.count == 1 && answers != [.failed(.overloaded, "x")], "bit \(bit)")
        }
    }
}
