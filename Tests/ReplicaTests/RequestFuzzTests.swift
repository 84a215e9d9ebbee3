import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Messages of other nodes with changed bytes are refused, or can be applied, flushed, compacted, read, answered to
/// other nodes and replayed.
///
/// `AUSPEX_FUZZ_ROUNDS` sets the number of rounds, `AUSPEX_FUZZ_SEED` the seed.
@Suite struct RequestFuzzTests {
    private typealias Node = HostileNode

    private static func setting(_ name: String, default value: UInt64) -> UInt64 {
        getenv(name).flatMap { UInt64(String(cString: $0)) } ?? value
    }

    @Test func changedMessages() throws {
        let seed = Self.setting("AUSPEX_FUZZ_SEED", default: 1)
        let rounds = Self.setting("AUSPEX_FUZZ_ROUNDS", default: 6_000)
        print("seed \(seed)")
        var fuzzer = try Fuzzer(seed: seed)
        for round in 0..<rounds { try fuzzer.run(round) }
        print("\(fuzzer.decodedRequests) requests and \(fuzzer.decodedReplies) replies of \(rounds) messages decoded")
        #expect(fuzzer.decodedRequests > rounds / 20 && fuzzer.decodedReplies > rounds / 40)
    }

    private struct Fuzzer {
        var random: SeededRandom
        let seed: UInt64
        var node: Node
        var gossiper: Gossiper
        var decodedRequests: UInt64 = 0
        var decodedReplies: UInt64 = 0
        private var recent: [[UInt8]] = []

        init(seed: UInt64) throws {
            self.seed = seed
            random = SeededRandom(seed: seed)
            node = try Node()
            gossiper = Gossiper(
                configuration: GossipConfiguration(
                    clusterName: "c", endpoint: Endpoint(address: "10.0.0.1", port: 7000), hostID: Node.id, seeds: []),
                generation: 1_700_000_000, seed: seed)
        }

        mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
        mutating func chance(_ one: Int) -> Bool { below(one) == 0 }

        // MARK: Rounds

        mutating func run(_ round: UInt64) throws {
            let isRequest = !chance(3)
            var bytes = isRequest ? Node.bytes(request()) : Node.bytes(reply())
            if chance(2) { for _ in 0...below(3) { change(&bytes) } }
            if recent.count < 64 { recent.append(bytes) } else { recent[below(64)] = bytes }
            if isRequest {
                if let request = try? Node.request(bytes) { try execute(request, bytes, round) }
            } else if let reply = try? Node.reply(bytes) {
                decodedReplies += 1
                try take(reply, bytes)
            }
            if round % 200 == 199 { try settle(round) }
        }

        /// Executes a request and sends the reply, which the other node must be able to decode.
        private mutating func execute(_ request: PeerRequest, _ bytes: [UInt8], _ round: UInt64) throws {
            decodedRequests += 1
            let again = try Node.request(Node.bytes(request))
            #expect(again == request, "seed \(seed) round \(round)")
            if case .gossip(let bytes) = request { gossip(bytes) }
            let reply = try node.receive(bytes)
            let received = try Node.reply(Node.bytes(reply))
            #expect(received == reply, "seed \(seed) round \(round): \(request)")
        }

        private mutating func gossip(_ bytes: [UInt8]) {
            guard let message = try? GossipMessage(decoding: bytes) else { return }
            let sender = Endpoint(address: "10.0.0.\(below(4))", port: 7000)
            let (now, wall) = (Int64(below(1 << 40)), node.time.wallMicroseconds())
            for case .send(let answer, _) in gossiper.receive(message, from: sender, now: now, wall: wall)
                + gossiper.tick(now: now, wall: wall)
            {
                var out = ByteWriter()
                answer.encode(to: &out)
                #expect((try? GossipMessage(decoding: out.toArray())) == answer)
            }
            gossiper.checkInvariants()
        }

        /// Does what a coordinator does with a reply.
        private mutating func take(_ reply: PeerReply, _ bytes: [UInt8]) throws {
            switch reply {
            case .read(let answer):
                let command = ReadCommand(
                    table: Node.table, range: .all, reversed: chance(2), rowLimit: 1000, gcBefore: 0, now: 50)
                let own = try node.service.replica.answer(command)
                let outcome = try Reconciler().reconcile([own, answer], of: command)
                _ = answer.digest
                for lacking in outcome.lacking {
                    let missed = ReadAnswer(coveredTo: nil, operations: lacking, rowCount: 0)
                    let mutations = try missed.mutations(of: Node.table)
                    let reply = try node.receive(Node.bytes(.repair(mutations)))
                    #expect(reply == .done, "seed \(seed)")
                }
            case .promise(let promise):
                for value in [promise.accepted?.value, promise.committed.value] {
                    guard let value, !value.isEmpty else { continue }
                    _ = node.service.execute(
                        .commit(
                            PaxosKey(table: Node.table, partition: Node.partition(1)), promise.promised, value: value))
                }
            case .tree(let tree): _ = (tree.rows, tree.bytes, tree.isEmpty)
            case .metadata(.current(_, let value)), .metadata(.promise(_, let value)): try join(value)
            case .gossip(let bytes): gossip(bytes)
            case .stream(.files(let files)): _ = files.reduce(0) { $0 + $1.bytes }
            default: break
            }
        }

        /// Uses metadata as a member does.
        private mutating func join(_ value: [UInt8]) throws {
            guard let metadata = ClusterMetadata.readable(value) else { return }
            var acceptor = MetadataAcceptor(current: metadata)
            _ = acceptor.handle(
                .accept(epoch: metadata.epoch, Ballot(timestamp: 1, node: Node.id), value: metadata.encode()))
            _ = ReplicaTable(ring: metadata.ring, strategy: .simple(factor: 2), former: metadata.previousRing)
            let member = ClusterMetadata.Member(
                node: RingNode(
                    id: UUID(high: 77, low: 77), endpoint: Endpoint(address: "10.0.0.77", port: 7000),
                    location: metadata.members.first?.node.location ?? .unknown, claims: [TokenClaim]()),
                nativePort: 9042)
            var changes: [MemberChange] = [.join(member), .settle]
            for other in metadata.members.prefix(3) {
                changes += [.leave(other.node.id), .finish(other.node.id), .replace(member, dead: other.node.id)]
            }
            for change in changes {
                if case .randomOverPartitions(_, let tokens) = metadata.strategy, tokens > 256 { continue }
                if case .random(let tokens) = metadata.strategy, tokens > 256 { continue }
                guard let next = try? change.apply(to: metadata, seed: seed) else { continue }
                _ = ReplicaTable(ring: next.ring, strategy: .simple(factor: 2), former: next.previousRing)
            }
        }

        /// Flushes, compacts, reads everything, and starts again from the log.
        private mutating func settle(_ round: UInt64) throws {
            let what: Comment = "seed \(seed) round \(round)"
            if chance(2) { try node.engine.flushAll() }
            if chance(4) { for table in node.engine.allTables { try node.engine.compactAll(table) } }
            for reversed in [false, true] {
                for table in node.engine.allTables {
                    let command = ReadCommand(
                        table: table.id, range: .all, reversed: reversed, rowLimit: 10_000, gcBefore: 0, now: 50)
                    let reply = node.service.execute(.read(command)).reply
                    #expect(try Node.reply(Node.bytes(reply)) == reply, what)
                }
            }
            let command = TreeCommand(table: Node.table, tokens: .min ... .max, depth: 8, gcBefore: 0, now: 50)
            let tree = node.service.execute(.tree(command)).reply
            #expect(try Node.reply(Node.bytes(tree)) == tree, what)
            try node.service.batchLog.look(before: .max, pageBytes: 1 << 20, pageCount: 10) { _ throws(ReplicaError) in
                .next
            }
            for file in try node.store.tables {
                let problems = try SSTableVerifier(system: node.system, path: file.path).verify().problems
                #expect(problems.isEmpty, what)
            }
            let rows = try node.rows()
            try node.restart()
            #expect(node.report.rejected.isEmpty, what)
            #expect(try node.rows() == rows, what)
            // Keep the node small.
            if round % 1000 == 999 { node = try Node() }
        }

        // MARK: Changed bytes

        private mutating func change(_ bytes: inout [UInt8]) {
            guard !bytes.isEmpty else { return }
            let place = below(bytes.count)
            switch below(9) {
            case 0, 1: bytes[place] ^= 1 << UInt8(below(8))
            case 2: bytes[place] = [0, 1, 0x20, 0x7f, 0x80, 0xff][below(6)]
            case 3: bytes.removeLast(below(bytes.count))
            case 4: bytes.remove(at: place)
            case 5: bytes.insert(UInt8(below(256)), at: place)
            case 6:
                // A number of 2, 4 or 8 bytes.
                let width = [2, 4, 8][below(3)]
                let value: UInt64 = [0, 1, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 1 << 63, .max, UInt64(below(64))][
                    below(9)]
                let isBig = chance(2)
                for index in 0..<min(width, bytes.count - place) {
                    bytes[place + index] = UInt8(
                        truncatingIfNeeded: value >> UInt64(8 * (isBig ? width - 1 - index : index)))
                }
            case 7:
                // The end of another message.
                let other = recent.isEmpty ? bytes : recent[below(recent.count)]
                if !other.isEmpty { bytes = Array(bytes[..<place]) + other[below(other.count)...] }
            default:
                let end = place + below(min(16, bytes.count - place)) + 1
                bytes.insert(contentsOf: bytes[place..<end], at: below(bytes.count + 1))
            }
        }

        // MARK: Messages

        private mutating func someKey() -> [UInt8] {
            let partition = Node.partition(UInt8(below(6)))
            if chance(5) { return partition + [KeyView.staticKind] }
            return partition + [KeyView.rowKind] + (0..<below(4)).map { _ in UInt8(below(4)) }
        }

        private mutating func time() -> Int64 {
            chance(10) ? [Int64.min + 2, -1, 0, .max][below(4)] : Int64(below(100))
        }

        private mutating func deletion() -> DeletionTime {
            DeletionTime(timestamp: time(), localDeletion: chance(10) ? .max : UInt32(below(100)))
        }

        /// Returns mutations of random rows and range tombstones; some with changed bytes in their rows and keys only.
        private mutating func mutations(isCounting: Bool = false) -> [UInt8] {
            var out = MutationWriter()
            for _ in 0...below(2) {
                let tables = [Node.table, Node.table, Node.table, BatchLog.table, PaxosAcceptor.table]
                out.beginTable(tables[below(5)])
                for _ in 0...below(3) {
                    let key = someKey()
                    if !isCounting, chance(4) {
                        var end = Array(key.dropLast(below(2))) + [UInt8(below(256))]
                        var start = key
                        if compareBytes(start, end) > 0 { swap(&start, &end) }
                        if chance(20) { change(&start) }
                        if chance(20) { change(&end) }
                        out.deleteRange(KeyRange(start: start, end: end), deletion: deletion())
                        continue
                    }
                    var row = row(isCounting: isCounting)
                    var itsKey = key
                    if chance(6) { change(&row) }
                    if chance(20) { change(&itsKey) }
                    itsKey.withUnsafeBytes { key in row.withUnsafeBytes { out.row(key: key, encoded: $0) } }
                }
                out.endTable()
            }
            return out.out.toArray()
        }

        private mutating func row(isCounting: Bool) -> [UInt8] {
            var writer = RowWriter()
            var out = ByteWriter()
            let ttl: UInt32 = chance(4) ? UInt32(below(100)) : 0
            let timestamp = time()
            writer.begin(
                timestamp: chance(6) ? .min : timestamp, liveness: false, ttl: ttl, expires: UInt32(below(100)),
                deletion: chance(5) ? deletion() : .none, into: &out)
            if chance(2) {
                out.removeAll()
                writer.begin(
                    timestamp: timestamp, liveness: true, ttl: ttl, expires: UInt32(below(100)),
                    deletion: chance(5) ? deletion() : .none, into: &out)
            }
            let value = (0..<below(20)).map { _ in UInt8(below(256)) }
            let shards = (0..<(isCounting ? 8 : 32 * below(3))).map { _ in UInt8(below(3)) }
            value.withUnsafeBytes { value in
                for _ in 0..<below(5) {
                    let column = below(4)
                    if isCounting {
                        shards.withUnsafeBytes {
                            writer.cell(column: column, timestamp: timestamp, value: $0, isCounter: true, into: &out)
                        }
                        continue
                    }
                    switch below(6) {
                    case 0: writer.tombstone(column: column, deletion: deletion(), into: &out)
                    case 1: writer.complexDeletion(column: column, deletion: deletion(), into: &out)
                    case 2:
                        writer.cell(
                            column: column, path: value, timestamp: time(), ttl: ttl, expires: 60, value: value,
                            into: &out)
                    case 3: writer.tombstone(column: column, path: value, deletion: deletion(), into: &out)
                    case 4:
                        shards.withUnsafeBytes {
                            writer.cell(column: column, timestamp: time(), value: $0, isCounter: true, into: &out)
                        }
                    default:
                        writer.cell(
                            column: column, timestamp: timestamp, ttl: ttl, expires: 60, value: value, into: &out)
                    }
                }
            }
            writer.end(into: &out)
            return out.toArray()
        }

        private mutating func command() -> ReadCommand {
            var (start, end) = (someKey(), someKey())
            if chance(3) { end = start + [0] }
            if chance(4) { (start, end) = ([], KeyRange.all.end) }
            return ReadCommand(
                table: Node.table, range: KeyRange(start: start, end: end), reversed: chance(2), rowLimit: below(30),
                byteLimit: 1 + below(1000), gcBefore: UInt32(below(100)), now: UInt32(below(100)))
        }

        private mutating func ballot() -> Ballot {
            Ballot(timestamp: time(), node: UUID(high: 1, low: random.next() % 3))
        }

        private mutating func slice() -> TokenSlice {
            let (a, b) = (Int64(bitPattern: random.next()), Int64(bitPattern: random.next()))
            return chance(4) ? a...a : chance(4) ? .min ... .max : min(a, b)...max(a, b)
        }

        private mutating func gossipBytes() -> [UInt8] {
            func endpoint(_ number: Int) -> Endpoint { Endpoint(address: "10.0.0.\(number)", port: 7000) }
            var states: [GossipEntry] = []
            for _ in 0..<below(3) {
                var state = GossipState(
                    heartBeat: HeartBeat(generation: 1_700_000_000 + Int64(below(3)), version: Int64(below(100))))
                let texts = ["NORMAL", "BOOT", "LEFT,\(Int64.max)", "REMOVED,\(Int64.min)", "SHUTDOWN", "x"]
                state.set(GossipValue(key: .status, version: Int64(below(100)), text: texts[below(6)]))
                state.set(
                    GossipValue(key: .hostID, version: 1, text: UUID(high: 5, low: UInt64(below(4))).description))
                states.append(GossipEntry(endpoint: endpoint(below(4)), state: state))
            }
            let digests = (0..<below(3)).map { _ in
                GossipDigest(
                    endpoint: endpoint(below(4)), generation: chance(4) ? .max : 1_700_000_000,
                    maxVersion: chance(4) ? .max : 5)
            }
            let partitioner = gossiper.configuration.partitioner
            let message: GossipMessage =
                switch below(5) {
                case 0: .syn(clusterName: "c", partitioner: partitioner, digests: digests)
                case 1: .ack(wanted: digests, states: states)
                case 2: .ack2(states: states)
                case 3: .shadowSyn(clusterName: "c", partitioner: partitioner)
                default: .refused(clusterName: "d", partitioner: partitioner)
                }
            var out = ByteWriter()
            message.encode(to: &out)
            var bytes = out.toArray()
            if chance(2) { change(&bytes) }
            return bytes
        }

        private mutating func request() -> PeerRequest {
            let key = PaxosKey(table: Node.table, partition: Node.partition(UInt8(below(6))))
            let batch = BatchKey(created: Int64(1 + below(100)), id: UUID(high: 9, low: UInt64(below(8))))
            let session = UUID(high: 8, low: UInt64(below(3)))
            switch below(20) {
            case 0...4: return .write(mutations())
            case 5: return .hint(mutations())
            case 6: return .repair(mutations())
            case 7: return .read(command())
            case 8: return .digest(command())
            case 9: return .count(deltas: mutations(isCounting: true), consistency: .quorum)
            case 10: return .prepare(key, ballot(), reading: chance(2) ? nil : command())
            case 11: return .propose(key, ballot(), value: mutations())
            case 12: return .commit(key, ballot(), value: mutations())
            case 13: return .gossip(gossipBytes())
            case 14:
                return .tree(
                    TreeCommand(
                        table: Node.table, tokens: slice(), depth: below(10), gcBefore: 0, now: UInt32(below(100))))
            case 15: return .storeBatch(LoggedBatch(key: batch, mutations: mutations()))
            case 16: return .removeBatch(batch)
            case 17:
                switch below(4) {
                case 0: return .stream(.open(session: session, table: Node.table, tokens: [slice(), slice()]))
                case 1: return .stream(.piece(session: session, file: UInt32(below(4)), offset: below(10_000)))
                case 2: return .stream(.rest(session: session, command()))
                default: return .stream(.close(session: session))
                }
            case 18: return .keepHint(for: Node.id, mutations())
            default: return .metadata(.chosen(epoch: 1, value: metadataBytes()))
            }
        }

        private mutating func metadataBytes() -> [UInt8] {
            let grid = TokenGrid(count: 1 << below(6)) ?? TokenGrid(count: 1)
            let strategies: [TokenStrategy] = [.random(tokensPerNode: below(20)), .standard]
            var members: [ClusterMetadata.Member] = []
            for index in 0..<below(5) {
                let claims = (0..<below(6)).map { _ in
                    TokenClaim(grid?.end(of: below(grid?.count ?? 1)) ?? 0, epoch: UInt32(below(4)))
                }
                let other = UUID(high: 6, low: UInt64(below(5)))
                let states: [NodeState] = [
                    .normal, .normal, .normal, .joining, .left, .replacing(other),
                    .leaving(heirs: claims.map { TokenSuccessor(token: $0.token, heir: other) }),
                ]
                members.append(
                    ClusterMetadata.Member(
                        node: RingNode(
                            id: UUID(high: 6, low: UInt64(index)),
                            endpoint: Endpoint(address: "10.0.1.\(index)", port: 7000),
                            location: Location(dataCenter: "dc\(below(2))", rack: "r"), claims: claims,
                            state: states[below(states.count)]), nativePort: 9042))
            }
            let strategy = chance(2) ? grid.map { .equalPartitions($0) } ?? .standard : strategies[below(2)]
            var metadata = ClusterMetadata(epoch: UInt64(below(5)), strategy: strategy, members: members)
            if chance(2) {
                for member in members where chance(2) { metadata.former[member.node.id] = member.node.claims }
            }
            var bytes = metadata.encode()
            if chance(2) { change(&bytes) }
            return bytes
        }

        private mutating func reply() -> PeerReply {
            switch below(8) {
            case 0...2:
                var operations: [UInt8] = []
                var rows = 0
                var out = MutationWriter()
                for key in (0..<below(5)).map({ _ in someKey() }).sorted(by: { compareBytes($0, $1) < 0 }) {
                    let row = row(isCounting: false)
                    key.withUnsafeBytes { key in row.withUnsafeBytes { out.row(key: key, encoded: $0) } }
                    rows += 1
                }
                if chance(3) { out.deleteRange(.prefix(Node.partition(UInt8(below(6)))), deletion: deletion()) }
                operations = out.out.toArray()
                if chance(4) { change(&operations) }
                return .read(
                    ReadAnswer(coveredTo: chance(4) ? someKey() : nil, operations: operations, rowCount: rows))
            case 3:
                return .promise(
                    PaxosPromise(
                        isPromised: chance(2), promised: ballot(), accepted: chance(2) ? nil : (ballot(), mutations()),
                        committed: (ballot(), chance(2) ? [] : mutations())))
            case 4:
                let tree = node.service.execute(
                    .tree(TreeCommand(table: Node.table, tokens: slice(), depth: below(8), gcBefore: 0, now: 9))
                ).reply
                return tree
            case 5: return .metadata(.current(epoch: 5, value: metadataBytes()))
            case 6: return .gossip(gossipBytes())
            default:
                return .stream(
                    .files((0..<below(4)).map { StreamReply.StreamedFile(number: UInt32($0), bytes: below(1 << 20)) }))
            }
        }
    }
}
