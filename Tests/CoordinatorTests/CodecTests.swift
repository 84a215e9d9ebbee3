import Cluster
import Coordinator
import DataModel
import Messages
import ModelReplica
import Primitives
import Testing
import VirtualCluster

@Suite struct CodecTests {
    private static func ballot(_ n: UInt64) -> Ballot {
        Ballot(timestamp: Int64(n) * 1000, node: UUID(high: n, low: ~n))
    }
    private static let partition = Sample.prefix(token: 77, 9)
    private static let mutations = mutations(deleting: partition + [0x20], partition + [0x20, 3])
    /// What the checksums of `goldenMessages` were taken of. Its range tombstone lies in no partition and is refused.
    private static let goldenMutations = mutations(deleting: [1], [2, 3])

    private static func mutations(deleting start: [UInt8], _ end: [UInt8]) -> [UInt8] {
        Sample.put(Sample.key(token: 77, 9, [1, 2]), 5, at: 10) + Sample.deleteRange(start, end, at: 11, local: 12)
            + Sample.deleteRow(Sample.key(token: -5, 8, []), at: 3, local: 4)
    }

    private static var answer: ReadAnswer { answer(mutations) }

    private static func answer(_ mutations: [UInt8]) -> ReadAnswer {
        var replica = ModelReplica()
        replica.apply(mutations)
        return replica.answer(Sample.command(.all))
    }

    static let requests = requests(mutations)
    static let replies = replies(mutations, accepted: mutations)

    static func requests(_ mutations: [UInt8]) -> [PeerRequest] {
        let key = PaxosKey(table: VirtualCluster.table, partition: partition)
        return [
            .write(mutations), .hint(mutations), .repair(mutations), .write([]),
            .read(Sample.command(.all, rows: 7, reversed: true)),
            .digest(Sample.one(partition)), .count(deltas: mutations, consistency: .eachQuorum),
            .prepare(key, ballot(1), reading: nil),
            .prepare(key, ballot(1), reading: Sample.one(partition)),
            .propose(key, ballot(2), value: mutations), .commit(key, ballot(3), value: []),
            .gossip([1, 2, 3]), .metadata(.fetch(after: 300)), .metadata(.prepare(epoch: 3, ballot(4))),
            .metadata(.accept(epoch: .max, ballot(5), value: [1, 2])), .metadata(.chosen(epoch: 0, value: [])),
            .metadata(.change([7])),
            .storeBatch(LoggedBatch(key: BatchKey(created: 77, id: VirtualCluster.id(3)), mutations: mutations)),
            .keepHint(for: VirtualCluster.id(5), mutations),
            .removeBatch(BatchKey(created: .max, id: VirtualCluster.id(4))),
        ]
    }

    static func replies(_ mutations: [UInt8], accepted: [UInt8]) -> [PeerReply] {
        [
            .done, .read(answer(mutations)), .read(ReadAnswer(coveredTo: [1, 2], operations: [], rowCount: 0)),
            .digest(UUID(high: 1, low: 2)),
            .promise(PaxosPromise(isPromised: true, promised: ballot(1), accepted: nil, committed: (.none, []))),
            .promise(
                PaxosPromise(
                    isPromised: false, promised: ballot(2), accepted: (ballot(1), accepted),
                    committed: (ballot(7), mutations))),
            .accepted(true, promised: ballot(1)), .accepted(false, promised: .none), .failed(.storage, "a disk"),
            .gossip([]),
            .metadata(.current(epoch: 9, value: [1])), .metadata(.promise(accepted: nil, value: [])),
            .metadata(.promise(accepted: ballot(3), value: [4])), .metadata(.accepted),
            .metadata(.refused(promised: ballot(8))),
            .metadata(.behind(epoch: 2)),
        ]
    }

    static let metadata: [ClusterMetadata] = {
        func node(_ index: Int, _ state: NodeState) -> ClusterMetadata.Member {
            ClusterMetadata.Member(
                node: RingNode(
                    id: VirtualCluster.id(index), endpoint: Endpoint(address: "10.0.0.\(index)", port: 7000 + index),
                    location: Location(dataCenter: "dc\(index)", rack: "r"),
                    claims: [TokenClaim(Int64(index), epoch: 3), TokenClaim(.max)],
                    state: state), nativePort: 9042)
        }
        let members = [
            node(1, .normal), node(2, .joining), node(3, .left),
            node(5, .replacing(VirtualCluster.id(3))),
            node(6, .leaving(heirs: [TokenSuccessor(token: 6, heir: VirtualCluster.id(1))])),
        ]
        return [
            ClusterMetadata(), ClusterMetadata(epoch: 12, members: members, schema: [1, 2, 3]),
            ClusterMetadata(epoch: 1 << 62, strategy: .random(tokensPerNode: 16), members: [members[0]]),
            ClusterMetadata(epoch: 1, strategy: .randomOverPartitions(TokenGrid(count: 64)!, tokensPerNode: 4)),
        ]
    }()

    private static func encoded(_ encode: (inout ByteWriter) -> Void) -> [UInt8] {
        var out = ByteWriter()
        encode(&out)
        return out.toArray()
    }

    private static func checked<T: Equatable>(_ value: T, _ bytes: [UInt8], _ decode: ([UInt8]) throws -> T) throws {
        #expect(try decode(bytes) == value)
        for length in 0..<bytes.count {
            #expect(throws: ByteError.self, "\(value) cut to \(length)") { try decode(Array(bytes.prefix(length))) }
        }
    }

    private static func request(_ bytes: [UInt8]) throws -> PeerRequest {
        try bytes.withReader { (reader) throws(ByteError) in try PeerRequest(from: &reader) }
    }

    private static func reply(_ bytes: [UInt8]) throws -> PeerReply {
        try bytes.withReader { (reader) throws(ByteError) in try PeerReply(from: &reader) }
    }

    @Test func requestsRoundTripAndRefuseTruncation() throws {
        for request in Self.requests {
            try Self.checked(request, Self.encoded { request.encode(into: &$0) }, Self.request)
        }
    }

    @Test func repliesRoundTripAndRefuseTruncation() throws {
        for reply in Self.replies { try Self.checked(reply, Self.encoded { reply.encode(into: &$0) }, Self.reply) }
    }

    @Test func metadataRoundTripsAndRefusesTruncation() throws {
        for metadata in Self.metadata {
            try Self.checked(metadata, metadata.encode()) { try ClusterMetadata(decoding: $0) }
            var acceptor = MetadataAcceptor(current: metadata)
            try Self.checked(acceptor, acceptor.encode()) { try MetadataAcceptor(decoding: $0) }
            _ = acceptor.handle(.accept(epoch: metadata.epoch, Self.ballot(4), value: [9, 9]))
            try Self.checked(acceptor, acceptor.encode()) { try MetadataAcceptor(decoding: $0) }
        }
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// A member in each state, with one claim each, and previous owners.
    private static var sampleMetadata: ClusterMetadata {
        func member(_ number: UInt64, _ state: NodeState) -> ClusterMetadata.Member {
            ClusterMetadata.Member(
                node: RingNode(
                    id: UUID(high: 0x1111, low: number), endpoint: Endpoint(address: "n\(number)", port: 7000),
                    location: Location(dataCenter: "dc", rack: "r\(number)"),
                    claims: [TokenClaim(-Int64(number), epoch: 2)], state: state), nativePort: 9042)
        }
        var metadata = ClusterMetadata(
            epoch: 300,
            members: [
                member(1, .joining), member(2, .normal),
                member(3, .leaving(heirs: [TokenSuccessor(token: -3, heir: UUID(high: 0x1111, low: 2))])),
                member(4, .left),
                member(6, .replacing(UUID(high: 0x1111, low: 4))),
            ], schema: Array("AXSC".utf8))
        metadata.note(change: 0x0102_0304_0506_0708)
        metadata.former = [UUID(high: 0x1111, low: 2): [TokenClaim(.max, epoch: 1)]]
        return metadata
    }

    /// Part of the format of the file `metadata` and of the internode protocol.
    @Test func goldenMetadata() throws {
        let metadata = Self.sampleMetadata
        let bytes = metadata.encode()
        #expect(
            Self.hex(bytes)
                == "41584d4401ac020380020108070605040302010500000000000011110000000000000001026e31d836d2460264"
                + "630272310cffffffffffffffff000000020100000000000011110000000000000002026e32d836d24602646302"
                + "72320cfffffffffffffffe000000020200000000000011110000000000000003026e33d836d246026463027233"
                + "0cfffffffffffffffd000000020318fffffffffffffffd00000000000011110000000000000002000000000000"
                + "11110000000000000004026e34d836d2460264630272340cfffffffffffffffc00000002040000000000001111"
                + "0000000000000006026e36d836d2460264630272360cfffffffffffffffa000000020600000000000011110000"
                + "00000000000401000000000000111100000000000000020c7fffffffffffffff000000010441585343")
        #expect(try ClusterMetadata(decoding: bytes) == metadata)
        var others = metadata
        others.members = []
        others.former = [:]
        others.strategy = .random(tokensPerNode: 16)
        #expect(Self.hex(others.encode()) == "41584d4401ac02011001080706050403020100000441585343")
        others.strategy = .randomOverPartitions(TokenGrid(count: 64)!, tokensPerNode: 4)
        #expect(Self.hex(others.encode()) == "41584d4401ac0202400401080706050403020100000441585343")
        others.strategy = .random(tokensPerNode: 1 << 16)
        #expect(ClusterMetadata.readable(others.encode()) == others)
        others.strategy = .random(tokensPerNode: (1 << 16) + 1)
        #expect(ClusterMetadata.readable(others.encode()) == nil)
        var acceptor = MetadataAcceptor(current: ClusterMetadata(epoch: 1))
        #expect(
            Self.hex(acceptor.encode())
                == "41584d410180000000000000000000000000000000000000000000000080000000000000000000000000000000"
                + "0000000000000000000d41584d44010103800200000000301343813c370d22")
        let next = ClusterMetadata(epoch: 2).encode()
        #expect(acceptor.handle(.prepare(epoch: 1, Self.ballot(3))).hasChanged)
        #expect(acceptor.handle(.accept(epoch: 1, Self.ballot(4), value: next)).hasChanged)
        #expect(
            Self.hex(acceptor.encode())
                == "41584d41010000000000000fa00000000000000004fffffffffffffffb0000000000000fa00000000000000004"
                + "fffffffffffffffb0d41584d440102038002000000000d41584d440101038002000000006e61bd1daf111690")
        #expect(try MetadataAcceptor(decoding: acceptor.encode()) == acceptor)
    }

    /// A flipped bit gives an error or other metadata, from which a ring and its tables can be made.
    @Test func flippedBitInMetadataNeverTraps() throws {
        let metadata = Self.sampleMetadata
        let bytes = metadata.encode()
        for length in 0..<bytes.count {
            #expect(throws: ByteError.self, "\(length) bytes") {
                try ClusterMetadata(decoding: Array(bytes[..<length]))
            }
        }
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            let other: ClusterMetadata
            do throws(ByteError) { other = try ClusterMetadata(decoding: flipped) } catch { continue }
            #expect(other != metadata, "bit \(bit)")
            #expect(try ClusterMetadata(decoding: other.encode()) == other, "bit \(bit)")
            let table = ReplicaTable(ring: other.ring, strategy: .simple(factor: 2), former: other.previousRing)
            #expect(table.replicas(for: 0).count <= 2, "bit \(bit)")
        }
    }

    /// Checksums of the encoded requests and replies, in the order of `requests` and `replies`. Part of the internode
    /// protocol: a change breaks clusters of mixed versions.
    @Test func goldenMessages() {
        let requests = Self.requests(Self.goldenMutations).map { request in Self.encoded { request.encode(into: &$0) } }
        let replies = Self.replies(Self.goldenMutations, accepted: [3]).map { reply in
            Self.encoded { reply.encode(into: &$0) }
        }
        #expect(
            requests.map { Checksum.xxh3($0) & 0xffff_ffff } == [
                0xefa8b8c2, 0x569739fb, 0x389f04f1, 0xce7276c0, 0x8aeaf49b, 0xf2615706, 0x46d2127f, 0xbe113962,
                0xf9df341e, 0xa9691438, 0x3397e46a, 0x758dbac5, 0x67bfe32c, 0x631bbc92, 0xa95bcf54, 0xe06103bd,
                0x16d10ea0, 0x6c37b9a7, 0x0e5b4bd6, 0x100912ee,
            ])
        #expect(
            replies.map { Checksum.xxh3($0) & 0xffff_ffff } == [
                0xeb86ceeb, 0x838ba88e, 0xf4fe8c36, 0xbd3af244, 0xe8e58dcd, 0x516a3b67, 0xbd03cf89, 0x9a6be036,
                0x8483888d, 0x9901e49b, 0x8d7c63ed, 0xdffe5c51, 0xbaf9cf31, 0xf75d3ddb, 0x08125dc7, 0x95fb23f2,
            ])
        #expect(requests.map { $0[0] } == Self.requests.map(\.verb.rawValue))
        #expect(Self.hex(requests[12]) == "0a01ac02" && Self.hex(replies[0]) == "01")
        #expect(Self.hex(replies[8]) == "07000506" + Self.hex(Array("a disk".utf8)))
    }

    /// What members derive from the metadata would not fit, or would mix up nodes.
    @Test func impossibleMetadataIsRefused() {
        for epoch in [UInt64.max, 4_611_686_018_427_387_905] {
            #expect(throws: ByteError.self) { try ClusterMetadata(decoding: ClusterMetadata(epoch: epoch).encode()) }
        }
        var twice = Self.sampleMetadata
        twice.members.append(twice.members[0])
        #expect(throws: ByteError.self) { try ClusterMetadata(decoding: twice.encode()) }
        twice.members = Self.sampleMetadata.members.reversed()
        #expect(throws: ByteError.self) { try ClusterMetadata(decoding: twice.encode()) }
    }

    private static func flips(of bytes: [UInt8]) -> [[UInt8]] {
        (0..<bytes.count * 8).map { bit in
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            return flipped
        }
    }

    /// A flipped bit of a message gives an error or a message that comes back.
    @Test func flippedBitInMessageNeverTraps() throws {
        for request in Self.requests {
            for flipped in Self.flips(of: Self.encoded { request.encode(into: &$0) }) {
                guard let other = try? Self.request(flipped) else { continue }
                #expect(try Self.request(Self.encoded { other.encode(into: &$0) }) == other, "\(request)")
            }
        }
        for reply in Self.replies {
            for flipped in Self.flips(of: Self.encoded { reply.encode(into: &$0) }) {
                guard let other = try? Self.reply(flipped) else { continue }
                #expect(try Self.reply(Self.encoded { other.encode(into: &$0) }) == other, "\(reply)")
            }
        }
    }

    @Test func flippedBitInAcceptorFileIsDetected() {
        let bytes = MetadataAcceptor(current: Self.metadata[1]).encode()
        for bit in 0..<bytes.count * 8 {
            var broken = bytes
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: ByteError.self) { try MetadataAcceptor(decoding: broken) }
        }
    }

    @Test(arguments: 0..<40) func randomBytesNeverTrap(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let valid =
            Self.requests.map { request in Self.encoded { request.encode(into: &$0) } }
            + Self.replies.map { reply in Self.encoded { reply.encode(into: &$0) } } + Self.metadata.map { $0.encode() }
        for _ in 0..<500 {
            var bytes: [UInt8]
            if random.next() % 4 == 0 {
                bytes = (0..<Int(random.next() % 64)).map { _ in UInt8(truncatingIfNeeded: random.next() >> 24) }
                if let first = bytes.indices.first { bytes[first] = UInt8(random.next() % 17) }
            } else {
                bytes = valid[Int(random.next() % UInt64(valid.count))]
                for _ in 0...Int(random.next() % 4) where !bytes.isEmpty {
                    let place = Int(random.next() % UInt64(bytes.count))
                    bytes[place] = random.next() % 3 == 0 ? 0xff : UInt8(truncatingIfNeeded: random.next() >> 24)
                }
            }
            _ = try? Self.request(bytes)
            if case .read(let answer)? = try? Self.reply(bytes) {
                // An answer that decodes is safe to reconcile.
                _ = try? Reconciler().reconcile([answer, Self.answer], of: Sample.command(.all))
            }
            _ = try? ClusterMetadata(decoding: bytes)
            _ = try? MetadataAcceptor(decoding: bytes)
        }
    }

    @Test func answerWithWrongRowCountIsRefused() {
        var answer = Self.answer
        answer.rowCount = Int.max
        #expect(throws: ByteError.self) { try Self.reply(Self.encoded { PeerReply.read(answer).encode(into: &$0) }) }
    }
}
