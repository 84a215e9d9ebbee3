import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct GossipCodecTests {
    static func state(_ generation: Int64) -> GossipState {
        GossipState(
            heartBeat: HeartBeat(generation: generation, version: 77),
            values: GossipKey.allCases.map {
                GossipValue(key: $0, version: Int64($0.rawValue) + 1, bytes: Array("\($0)".utf8))
            })
    }

    static let digests = [
        GossipDigest(endpoint: Endpoint(address: "10.0.0.1", port: 7000), generation: 1_700_000_000, maxVersion: 300),
        GossipDigest(endpoint: Endpoint(address: "fe80::1%eth0", port: 65_535), generation: Int64.max, maxVersion: 0),
    ]
    static let entries = digests.map { GossipEntry(endpoint: $0.endpoint, state: state($0.generation)) }
    static let messages: [GossipMessage] = [
        .syn(clusterName: "Prüfung", partitioner: "p", digests: digests),
        .syn(clusterName: "", partitioner: "", digests: []),
        .ack(wanted: digests, states: entries), .ack(wanted: [], states: []), .ack2(states: entries),
        .shadowSyn(clusterName: "c", partitioner: "p"), .refused(clusterName: "c", partitioner: "p"),
    ]

    static func encode(_ message: GossipMessage) -> [UInt8] {
        var writer = ByteWriter()
        message.encode(to: &writer)
        return writer.toArray()
    }

    @Test func messagesRoundTrip() throws {
        for message in Self.messages { #expect(try GossipMessage(decoding: Self.encode(message)) == message) }
    }

    @Test func goldenBytesOfFormat1() throws {
        let syn = GossipMessage.syn(
            clusterName: "c", partitioner: "pp",
            digests: [GossipDigest(endpoint: Endpoint(address: "::1", port: 7000), generation: 300, maxVersion: 2)])
        #expect(Self.encode(syn) == [1, 1, 1, 0x63, 2, 0x70, 0x70, 1, 3, 0x3a, 0x3a, 0x31, 0x1b, 0x58, 0xac, 0x02, 2])
        let value = GossipValue(key: .dataCenter, version: 5, text: "d")
        let news = GossipState(heartBeat: HeartBeat(generation: 1, version: 9), values: [value])
        let ack2 = GossipMessage.ack2(states: [GossipEntry(endpoint: Endpoint(address: "a", port: 1), state: news)])
        #expect(Self.encode(ack2) == [1, 3, 1, 1, 0x61, 0, 1, 1, 9, 1, 3, 5, 1, 0x64])
        #expect(Self.encode(.ack(wanted: [], states: [])) == [1, 2, 0, 0])
        let wanted = [GossipDigest(endpoint: Endpoint(address: "b", port: 2), generation: 1, maxVersion: 128)]
        let entry = GossipEntry(endpoint: Endpoint(address: "a", port: 1), state: news)
        let ack = GossipMessage.ack(wanted: wanted, states: [entry])
        #expect(
            Self.encode(ack) == [1, 2, 1, 1, 0x62, 0, 2, 1, 0x80, 0x01, 1, 1, 0x61, 0, 1, 1, 9, 1, 3, 5, 1, 0x64])
        let shadow = GossipMessage.shadowSyn(clusterName: "c", partitioner: "pp")
        #expect(Self.encode(shadow) == [1, 4, 1, 0x63, 2, 0x70, 0x70])
        let refused = GossipMessage.refused(clusterName: "é", partitioner: "")
        #expect(Self.encode(refused) == [1, 5, 2, 0xc3, 0xa9, 0])
        for message in [syn, ack2, ack, shadow, refused] {
            #expect(try GossipMessage(decoding: Self.encode(message)) == message)
        }
        #expect(GossipKey.allCases.map(\.rawValue) == Array(0...8) + [15])
    }

    /// A message cut anywhere is refused. A flipped bit gives an error or another message, never the same one.
    @Test func truncationAndFlippedBitsNeverTrap() throws {
        for message in Self.messages {
            let bytes = Self.encode(message)
            for length in 0..<bytes.count {
                #expect(throws: GossipError.self) { try GossipMessage(decoding: Array(bytes[..<length])) }
            }
            #expect(throws: GossipError.malformed(what: "end of message", offset: bytes.count)) {
                try GossipMessage(decoding: bytes + [0])
            }
            for bit in 0..<(bytes.count * 8) {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                let other: GossipMessage
                do throws(GossipError) { other = try GossipMessage(decoding: flipped) } catch { continue }
                #expect(other != message, "\(message) bit \(bit)")
                let again = Self.encode(other)
                #expect(try GossipMessage(decoding: again) == other, "\(message) bit \(bit)")
                #expect(again.count <= bytes.count, "\(message) bit \(bit)")
            }
        }
    }

    @Test(arguments: 1...8) func randomBytesNeverTrap(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        for _ in 0..<5_000 {
            var bytes = (0..<random.below(80)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if bytes.count > 2 && random.below(4) > 0 {
                bytes[0] = 1
                bytes[1] = UInt8(1 + random.below(5))
            }
            if let message = try? GossipMessage(decoding: bytes) {
                #expect(Self.encode(message).count <= bytes.count + 20)
            }
        }
    }

    @Test func limitsAreEnforced() {
        #expect(throws: GossipError.unsupportedVersion(2)) { try GossipMessage(decoding: [2, 1]) }
        #expect(throws: GossipError.malformed(what: "kind of message", offset: 1)) {
            try GossipMessage(decoding: [1, 9])
        }
        // A count larger than the remaining bytes allocates nothing; one above the limit is refused at once.
        #expect(throws: GossipError.self) { try GossipMessage(decoding: [1, 3, 0x90, 0x4e]) }
        #expect(throws: GossipError.tooLarge(what: "endpoints", limit: 20_000, found: 20_001)) {
            try GossipMessage(decoding: [1, 3, 0xa1, 0x9c, 0x01])
        }
        #expect(throws: GossipError.tooLarge(what: "bytes of a name", limit: 256, found: 300)) {
            try GossipMessage(decoding: [1, 4, 0xac, 0x02])
        }
        #expect(throws: GossipError.malformed(what: "address", offset: 3)) {
            try GossipMessage(decoding: [1, 3, 1, 1, 0x20, 0, 0])
        }
        #expect(throws: GossipError.malformed(what: "generation", offset: 7)) {
            try GossipMessage(decoding: [1, 3, 1, 1, 0x61, 0, 1] + [UInt8](repeating: 0xff, count: 9) + [1])
        }
        // A key of a newer release is skipped.
        let known = try? GossipMessage(decoding: [1, 3, 1, 1, 0x61, 0, 1, 1, 9, 2, 200, 5, 1, 0x64, 3, 6, 0])
        guard case .ack2(let states) = known else {
            Issue.record("\(String(describing: known))")
            return
        }
        #expect(states[0].state.values == [GossipValue(key: .dataCenter, version: 6, bytes: [])])
    }

    @Test func endpointsAndStatusesAsText() {
        for text in ["10.0.0.1:7001", "[::1]:7001"] { #expect(Endpoint(text)?.description == text) }
        #expect(Endpoint("10.0.0.1") == Endpoint(address: "10.0.0.1", port: 7000))
        #expect(Endpoint("fe80::2", defaultPort: 9) == Endpoint(address: "fe80::2", port: 9))
        #expect(Endpoint("[::1]")?.port == 7000)
        for text in ["", ":1", "a:", "a:x", "a:65536", "a:-1", "[::1", "[::1]x", "a b:1", "[]:1"] {
            #expect(Endpoint(text) == nil, "\(text)")
        }
        let statuses: [GossipStatus] = [
            .joining, .normal, .leaving, .left(expires: 5), .removed(expires: -1), .shutdown,
        ]
        for status in statuses { #expect(GossipStatus(status.description) == status) }
        for text in ["", "NORMAL,1", "LEFT", "LEFT,x", "REPLACING,1", "normal", "MOVING"] {
            #expect(GossipStatus(text) == nil, "\(text)")
        }
    }
}
