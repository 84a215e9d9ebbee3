import Cluster
import Coordinator
import DataModel
import Messages
import ModelReplica
import Primitives
import Testing

@Suite struct CodecTests {
    private static func ballot(_ n: UInt64) -> Ballot { Ballot(timestamp: Int64(n) * 1000, node: UUID(high: n, low: ~n)) }
    private static let partition = Sample.prefix(token: 77, 9)
    private static let mutations =
        Sample.put(Sample.key(token: 77, 9, [1, 2]), 5, at: 10) + Sample.deleteRange([1], [2, 3], at: 11, local: 12)
        + Sample.deleteRow(Sample.key(token: -5, 8, []), at: 3, local: 4)

    private static var answer: ReadAnswer {
        var replica = ModelReplica()
        replica.apply(mutations)
        return replica.answer(Sample.command(.all))
    }

    static let requests: [PeerRequest] = {
        let key = PaxosKey(table: VirtualCluster.table, partition: partition)
        return [
            .write(mutations), .hint(mutations), .repair(mutations), .write([]), .read(Sample.command(.all, rows: 7, reversed: true)),
            .digest(Sample.one(partition)), .count(deltas: mutations, consistency: .eachQuorum), .prepare(key, ballot(1), reading: nil),
            .prepare(key, ballot(1), reading: Sample.one(partition)),
            .propose(key, ballot(2), value: mutations), .commit(key, ballot(3), value: []),
            .gossip([1, 2, 3]), .metadata(.fetch(after: 300)), .metadata(.prepare(epoch: 3, ballot(4))),
            .metadata(.accept(epoch: .max, ballot(5), value: [1, 2])), .metadata(.chosen(epoch: 0, value: [])), .metadata(.change([7])),
            .storeBatch(LoggedBatch(key: BatchKey(created: 77, id: VirtualCluster.id(3)), mutations: mutations)),
            .keepHint(for: VirtualCluster.id(5), mutations), .removeBatch(BatchKey(created: .max, id: VirtualCluster.id(4))),
        ]
    }()

    static let replies: [PeerReply] = [
        .done, .read(answer), .read(ReadAnswer(coveredTo: [1, 2], operations: [], rowCount: 0)), .digest(UUID(high: 1, low: 2)),
        .promise(PaxosPromise(isPromised: true, promised: ballot(1), accepted: nil, committed: (.none, []))),
        .promise(PaxosPromise(isPromised: false, promised: ballot(2), accepted: (ballot(1), [3]), committed: (ballot(7), mutations))),
        .accepted(true, promised: ballot(1)), .accepted(false, promised: .none), .failed(.storage, "a disk"), .gossip([]),
        .metadata(.current(epoch: 9, value: [1])), .metadata(.promise(accepted: nil, value: [])),
        .metadata(.promise(accepted: ballot(3), value: [4])), .metadata(.accepted), .metadata(.refused(promised: ballot(8))),
        .metadata(.behind(epoch: 2)),
    ]

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
            node(1, .normal), node(2, .joining), node(3, .left), node(4, .moving(to: [TokenClaim(5, epoch: 6)])),
            node(5, .replacing(VirtualCluster.id(3))), node(6, .leaving(heirs: [TokenHeir(token: 6, heir: VirtualCluster.id(1))])),
        ]
        return [
            ClusterMetadata(), ClusterMetadata(epoch: 12, members: members, schema: [1, 2, 3]),
            ClusterMetadata(epoch: .max, strategy: .random(tokensPerNode: 16), members: [members[0]]),
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
        for request in Self.requests { try Self.checked(request, Self.encoded { request.encode(into: &$0) }, Self.request) }
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

    @Test func aFlippedBitOfTheAcceptorsFileIsFound() {
        let bytes = MetadataAcceptor(current: Self.metadata[1]).encode()
        for bit in 0..<bytes.count * 8 {
            var broken = bytes
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: ByteError.self) { try MetadataAcceptor(decoding: broken) }
        }
    }

    @Test(arguments: 0..<40) func brokenBytesNeverTrap(seed: UInt64) {
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

    @Test func anAnswerThatMiscountsItsRowsIsRefused() {
        var answer = Self.answer
        answer.rowCount = Int.max
        #expect(throws: ByteError.self) { try Self.reply(Self.encoded { PeerReply.read(answer).encode(into: &$0) }) }
    }
}
