import Cluster
import DataModel
import Fixtures
import Messages
import ModelReplica
import Primitives
import Testing

@testable import Repair

@Suite struct CodecTests {
    private static func tree(_ bytes: [UInt8]) throws -> MerkleTree {
        try bytes.withReader { (reader) throws(ByteError) in try MerkleTree(from: &reader) }
    }

    private static func request(_ bytes: [UInt8]) throws -> PeerRequest {
        try bytes.withReader { (reader) throws(ByteError) in try PeerRequest(from: &reader) }
    }

    private static func sample(depth: Int) -> MerkleTree {
        var random = SeededRandom(seed: 3)
        var replica = ModelReplica()
        for step in 0..<60 {
            replica.apply(Sample.random(&random, tokens: [-9, 0, 3, 200, 201, 255, .max], step: step))
        }
        return replica.tree(
            TreeCommand(table: Sample.table, tokens: -9...Int64.max, depth: depth, gcBefore: 0, now: Sample.now))
    }

    @Test func messagesRoundTrip() throws {
        let command = TreeCommand(table: Sample.table, tokens: Int64.min...17, depth: 15, gcBefore: 3, now: Sample.now)
        let bytes = encoded(PeerRequest.tree(command).encode)
        #expect(try Self.request(bytes) == .tree(command))
        for length in 0..<bytes.count {
            #expect(throws: ByteError.self) { try Self.request(Array(bytes.prefix(length))) }
        }
        let trees = [
            Self.sample(depth: 15), Self.sample(depth: 6), MerkleTree(tokens: 5...5, depth: 0),
            MerkleTree(tokens: Int64.min...Int64.max, depth: 3),
        ]
        for tree in trees {
            let bytes = encoded(tree.encode)
            #expect(try Self.tree(bytes) == tree)
            for length in stride(from: bytes.count - 1, through: 0, by: tree.depth > 10 ? -7 : -1) {
                #expect(throws: ByteError.self) { try Self.tree(Array(bytes.prefix(length))) }
            }
            let reply = encoded(PeerReply.tree(tree).encode)
            #expect(try reply.withReader { (reader) throws(ByteError) in try PeerReply(from: &reader) } == .tree(tree))
        }
    }

    /// Part of the internode protocol: a change breaks clusters of mixed versions.
    @Test func goldenBytes() throws {
        var builder = TreeBuilder(
            TreeCommand(table: Sample.table, tokens: 0...255, depth: 2, gcBefore: 0, now: Sample.now))
        let span = RangeTombstone(
            start: Sample.key(70), end: Sample.key(70, [9]), deletion: DeletionTime(timestamp: 1, localDeletion: 2))
        builder.add(span)
        let tree = builder.finish()
        let bytes = encoded(tree.encode)
        #expect(Array(bytes[..<19]) == [UInt8](repeating: 0, count: 15) + [255, 2, 1, 1])
        #expect(Array(bytes[35...]) == [0, 26])
        #expect(tree.leaves[1].high == 837_067_236_155_993_858)
        var replica = ModelReplica()
        replica.apply(
            Sample.row(Sample.key(1)) { out in [5].withUnsafeBytes { out.cell(column: 3, timestamp: 8, value: $0) } })
        let rows = replica.tree(
            TreeCommand(table: Sample.table, tokens: 0...255, depth: 2, gcBefore: 0, now: Sample.now))
        #expect(rows.leaves[0].high == 863_353_865_617_104_862)
    }

    /// A whole tree: a gap before the first leaf, two leaves side by side, a gap, and counts of several bytes.
    @Test func goldenTree() throws {
        var replica = ModelReplica()
        for (token, size) in [(20, 1), (40, 2), (250, 300)] as [(Int64, Int)] {
            replica.apply(Sample.put(Sample.key(token), [UInt8](repeating: 7, count: size)))
        }
        let command = TreeCommand(table: Sample.table, tokens: 0...255, depth: 4, gcBefore: 0, now: Sample.now)
        let tree = replica.tree(command)
        let bytes = encoded(tree.encode)
        #expect(
            hex(bytes)
                == "000000000000000000000000000000ff040301037c53fc1c4a1f5a8b24eb1a14b2086d011a005c6a89048f6411"
                + "deee2b3782bb1d80c4011b0cd3285817e80dfba657b7bc0ee51d484e01c602")
        #expect(try Self.tree(bytes) == tree)
        #expect(tree.leaves.indices.filter { !tree.leaves[$0].isEmpty } == [1, 2, 15])
        for length in 0..<bytes.count { #expect(throws: ByteError.self) { try Self.tree(Array(bytes.prefix(length))) } }
    }

    /// Bytes with a flipped bit are refused or decode to a different tree.
    @Test func flippedBits() {
        let tree = Self.sample(depth: 6)
        let bytes = encoded(tree.encode)
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            if let other = try? Self.tree(flipped) { #expect(other != tree, "bit \(bit)") }
        }
    }

    @Test func malformedTreesAreRefused() {
        func bytes(
            first: Int64 = 0, last: Int64 = 255, depth: UInt8 = 2, count: Int = 1, gap: Int = 0, hash: UInt64 = 1,
            rows: Int = 1,
            size: Int = 1
        ) -> [UInt8] {
            encoded { out in
                out.writeBE(first)
                out.writeBE(last)
                out.write(depth)
                out.writeVarint(count)
                out.writeVarint(gap)
                out.writeBE(hash)
                out.writeBE(hash)
                out.writeVarint(rows)
                out.writeVarint(size)
            }
        }
        func isTree(_ bytes: [UInt8]) -> Bool { (try? Self.tree(bytes)) != nil }
        #expect(isTree(bytes()))
        #expect(isTree(bytes(gap: 3)))
        for bad in [
            bytes(first: 256), bytes(depth: 16), bytes(last: 2, depth: 2), bytes(count: 5), bytes(gap: 4),
            bytes(gap: .max),
            bytes(rows: .max), bytes(size: .max), bytes(hash: 0, rows: 0, size: 0),
        ] { #expect(throws: ByteError.self) { try Self.tree(bad) } }
        let command = TreeCommand(table: Sample.table, tokens: 1...2, depth: 1, gcBefore: 0, now: 0)
        var request = encoded(PeerRequest.tree(command).encode)
        request[33] = 16  // the depth
        #expect(throws: ByteError.self) { try Self.request(request) }
        request[33] = 15
        #expect(throws: Never.self) { try Self.request(request) }
        request[24] = 3  // the first token, beyond the last
        #expect(throws: ByteError.self) { try Self.request(request) }
    }

    @Test func progressRoundTrips() throws {
        var progress = RepairProgress()
        #expect(try RepairProgress(progress.encode()) == progress)
        progress.insert(0...10, table: Sample.other)
        progress.insert(Int64.min...(-5), table: Sample.table)
        progress.insert(100...Int64.max, table: Sample.table)
        let bytes = progress.encode()
        #expect(try RepairProgress(bytes) == progress)
        #expect(bytes.count == 2 + 17 * 2 + 16 * 3)
        for length in 0..<bytes.count {
            #expect(throws: ByteError.self) { try RepairProgress(Array(bytes.prefix(length))) }
        }
        #expect(throws: ByteError.self) { try RepairProgress(bytes + [0]) }
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            if let other = try? RepairProgress(flipped) {
                #expect(other != progress && other.encode() == flipped, "bit \(bit)")
            }
        }
    }

    @Test(arguments: 0..<200) func tokenSetAgreesWithAModel(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let base = [Int64.min, -20, Int64.max - 40][Int(seed % 3)]
        func slice() -> TokenSlice {
            let first = base + Int64(random.next() % 41)
            return first...min(base + 40, first + min(base + 40 - first, Int64(random.next() % 6)))
        }
        var set = TokenSet()
        var model: Set<Int64> = []
        for _ in 0..<12 {
            let new = slice()
            set.insert(new)
            for token in new { model.insert(token) }
            let asked = slice()
            let missing = set.missing(of: asked)
            #expect(missing.flatMap { $0.map { $0 } } == asked.filter { !model.contains($0) })
            #expect(set.slices.flatMap { $0.map { $0 } } == model.sorted())
            for (one, next) in zip(set.slices, set.slices.dropFirst()) { #expect(one.upperBound + 1 < next.lowerBound) }
        }
    }

    @Test func writesKeepToTheSizeLimitAndHoldOnePartition() throws {
        var out = MutationWriter()
        var rows = 0
        for token in 0..<10 {
            for clustering in 0..<10 {
                let bytes = Sample.put(Sample.key(Int64(token), [UInt8(clustering)]), [UInt8](repeating: 7, count: 50))
                out.out.write(bytes[20...])
                rows += 1
            }
        }
        out.deleteRange(.prefix(Sample.partition(3)), deletion: DeletionTime(timestamp: 1, localDeletion: 2))
        let operations = out.out.toArray()
        for limit in [1, 100, 500, 3000, 1 << 20] {
            let messages = try RepairWrites.messages(operations, table: Sample.table, limit: limit)
            #expect(messages.reduce(0) { $0 + $1.volume.rows } == rows)
            #expect(messages.reduce(0) { $0 + $1.volume.deletions } == 1)
            var again: [UInt8] = []
            for message in messages {
                #expect(message.volume.bytes == message.mutations.count)
                #expect(message.mutations.count <= limit || message.volume.rows + message.volume.deletions == 1)
                let body = try message.mutations.withUnsafeBytesTyped { (bytes) throws(ByteError) in
                    var body: [UInt8] = []
                    var reader = MutationReader(bytes)
                    while try reader.nextTable() {
                        var partitions: Set<[UInt8]> = []
                        while let operation = try reader.nextOperation() {
                            var one = MutationWriter()
                            switch operation {
                            case .row(let key, let row):
                                partitions.insert([UInt8](KeyView(key).partition))
                                one.row(key: key, encoded: row)
                            case .deleteRange(let start, let end, let deletion):
                                partitions.insert([UInt8](KeyView(start).partition))
                                one.deleteRange(start: start, end: end, deletion: deletion)
                            }
                            body += one.out.toArray()
                        }
                        if partitions.count != 1 { throw ByteError.malformedVarint(offset: 0) }
                    }
                    return body
                }
                again += body
            }
            #expect(again == operations)
        }
        #expect(try RepairWrites.messages([], table: Sample.table, limit: 10).isEmpty)
    }

    @Test func rangesOfAPlacement() {
        let nodes = (0..<4).map { index in
            RingNode(
                id: Sample.node(index), endpoint: Endpoint(address: "10.0.0.\(index)", port: 7000), location: .unknown,
                tokens: [Int64(index) * 100])
        }
        let placement = ReplicaTable(ring: Ring(nodes: nodes), strategy: .simple(factor: 2))
        let all = RepairJob.ranges(of: placement)
        #expect(all.count == 4)
        #expect(all.allSatisfy { $0.replicas.count == 2 })
        #expect(RepairJob.ranges(of: placement, node: Sample.node(1)).count == 2)
        let some = RepairJob.ranges(of: placement, within: TokenRange(after: 50, through: 150))
        #expect(some.map(\.tokens) == [TokenRange(after: 50, through: 100), TokenRange(after: 100, through: 150)])
        let around = RepairJob.ranges(of: placement, within: TokenRange(after: 250, through: -50))
        #expect(
            Set(around.map(\.tokens)) == [
                TokenRange(after: 250, through: 300), TokenRange(after: 300, through: .max),
                TokenRange(after: .max, through: -50),
            ])
    }
}
