import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Repair
import Replica
import Storage
import Testing

/// Merkle trees over a real engine.
@Suite struct LocalTreeTests {
    static let table = UUID(high: 1, low: 2)
    static let now: UInt32 = 1_700_000_000

    final class Node {
        let engine: StorageEngine
        let service: ReplicaService

        init(_ index: Int, shards: Int = 4) throws {
            var options = StorageOptions()
            options.shards = shards
            options.log.segmentBytes = 64 << 10
            engine = try StorageEngine(
                system: MemoryFileSystem(), time: ManualTime(), background: InlineBackground(), directory: "db",
                options: options)
            var table = TableStoreOptions()
            table.files.blockBytes = 256
            try engine.openTable(LocalTreeTests.table, name: "ks/t", options: table)
            try PaxosAcceptor.open(engine)
            try engine.start()
            service = ReplicaService(replica: LocalReplica(engine: engine, node: UUID(high: 3, low: UInt64(index))))
        }

        func apply(_ mutations: [UInt8]) throws { try mutations.withUnsafeBytes { try engine.apply($0) } }

        func flush() throws { try engine.flushAll() }

        func tree(_ tokens: TokenSlice = Int64.min...Int64.max, depth: Int = 8, gcBefore: UInt32 = 0) throws
            -> MerkleTree
        {
            try service.replica.tree(
                TreeCommand(
                    table: LocalTreeTests.table, tokens: tokens, depth: depth, gcBefore: gcBefore,
                    now: LocalTreeTests.now))
        }
    }

    static func partition(_ name: UInt8) throws -> [UInt8] {
        var key = ByteWriter()
        KeyEncoding.beginPartition(into: &key)
        [name].withUnsafeBytes { KeyEncoding.addPartitionComponent($0, isOnly: true, into: &key) }
        try KeyEncoding.endPartition(of: &key)
        return key.toArray()
    }

    /// Returns a random change to one of forty partitions.
    static func mutation(_ random: inout SeededRandom, step: Int) throws -> [UInt8] {
        let partition = try partition(UInt8(random.next() % 40))
        var key = ByteWriter()
        key.write(partition + [KeyView.rowKind, UInt8(random.next() % 5)])
        let timestamp = Int64(step * 3 + 1)
        let deletion = DeletionTime(timestamp: timestamp, localDeletion: now - 1000 + UInt32(step))
        let choices = random.next()
        var out = MutationWriter()
        out.beginTable(table)
        switch choices % 10 {
        case 0: out.deleteRange(.prefix(partition), deletion: deletion)
        case 1: out.deleteRange(KeyRange(start: key.toArray(), end: key.toArray() + [9]), deletion: deletion)
        case 2:
            out.beginRow(key: key, timestamp: .min, liveness: false, deletion: deletion)
            out.endRow()
        default:
            let ttl: UInt32 = choices >> 4 & 3 == 0 ? 10 : 0
            let expires = ttl == 0 ? UInt32.max : now - 5 + UInt32(choices >> 8 & 7)
            out.beginRow(key: key, timestamp: timestamp, liveness: choices >> 6 & 1 == 0, ttl: ttl, expires: expires)
            let value = [UInt8](repeating: UInt8(choices >> 16 & 255), count: 40)
            value.withUnsafeBytes { value in
                out.cell(column: 0, timestamp: timestamp, ttl: ttl, expires: expires, value: value)
                if choices >> 12 & 1 == 0 { out.tombstone(column: 1, deletion: deletion) }
                if choices >> 13 & 1 == 0 { out.complexDeletion(column: 2, deletion: deletion) }
                let path = [UInt8(choices >> 14 & 3)]
                path.withUnsafeBytes { out.cell(column: 2, path: $0, timestamp: timestamp + 1, value: value) }
            }
            out.endRow()
        }
        out.endTable()
        return out.out.toArray()
    }

    /// The same changes in memory, in one sstable, in many, compacted, in another order, and applied twice give the
    /// same tree.
    @Test(arguments: 0..<12) func treeDoesNotDependOnTheFiles(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let mutations = try (0..<250).map { try Self.mutation(&random, step: $0) }
        let nodes = try (0..<6).map { try Node($0, shards: 1 << $0) }
        for (step, mutation) in mutations.enumerated() {
            for node in nodes[0..<4] { try node.apply(mutation) }
            try nodes[5].apply(mutation)
            try nodes[5].apply(mutation)
            if step % 60 == 59 { try nodes[2].flush() }
            if step % 30 == 29 { try nodes[3].flush() }
            if step % 90 == 89 { try nodes[5].flush() }
        }
        for mutation in mutations.reversed() { try nodes[4].apply(mutation) }
        try nodes[1].flush()
        try nodes[3].flush()
        if let table = nodes[3].engine.table(Self.table) { try nodes[3].engine.compactAll(table) }
        // With and without purgeable deletions.
        for gcBefore in [0, Self.now - 900] {
            let tree = try nodes[0].tree(gcBefore: gcBefore)
            #expect(tree.rows > 20)
            for (index, node) in nodes.enumerated() {
                #expect(
                    try node.tree(gcBefore: gcBefore).differences(from: tree).isEmpty,
                    "seed \(seed), node \(index), \(gcBefore)")
            }
        }
        // The trees of two halves have the same leaves as the tree of the whole.
        let whole = try nodes[3].tree(depth: 7)
        let halves = try [nodes[0].tree(Int64.min...(-1), depth: 6), nodes[2].tree(0...Int64.max, depth: 6)]
        for (one, other) in zip(whole.leaves, halves[0].leaves + halves[1].leaves) { #expect(one.isSame(as: other)) }
    }

    /// Trees differ exactly where answers differ.
    @Test(arguments: 0..<12) func leavesDifferExactlyWhereAnswersDiffer(seed: UInt64) throws {
        var random = SeededRandom(seed: seed + 100)
        let nodes = try (0..<2).map { try Node($0) }
        for step in 0..<200 {
            let mutation = try Self.mutation(&random, step: step)
            let missed = random.next() % 20
            for (index, node) in nodes.enumerated() where missed != UInt64(index) { try node.apply(mutation) }
            if step % 70 == 69 { try nodes[step / 70 % 2].flush() }
        }
        let trees = try nodes.map { try $0.tree() }
        for leaf in trees[0].leaves.indices {
            let command = ReadCommand(
                table: Self.table, range: trees[0].tokens(ofLeaf: leaf).keys, rowLimit: 1000, gcBefore: 0, now: Self.now
            )
            let answers = try nodes.map { try $0.service.replica.answer(command).digest }
            #expect(
                trees[0].leaves[leaf].isSame(as: trees[1].leaves[leaf]) == (answers[0] == answers[1]),
                "seed \(seed), leaf \(leaf)")
        }
    }

    @Test func treeOfAnUnknownTableIsRefused() throws {
        let node = try Node(0)
        let command = TreeCommand(table: Self.table, tokens: 0...10, depth: 2, gcBefore: 0, now: Self.now)
        #expect(node.service.execute(.tree(command)).reply == .tree(MerkleTree(tokens: 0...10, depth: 2)))
        var other = command
        other.table = UUID(high: 9, low: 9)
        guard case .failed(.unknownTable, _) = node.service.execute(.tree(other)).reply else {
            Issue.record("a tree of no table")
            return
        }
    }

    /// Repairs three engines, each of which missed some changes, in memory and in sstables.
    @Test(arguments: 0..<6) func repairMakesEnginesEqual(seed: UInt64) throws {
        var random = SeededRandom(seed: seed + 200)
        let nodes = try (0..<3).map { try Node($0) }
        for step in 0..<300 {
            let mutation = try Self.mutation(&random, step: step)
            let missed = random.next() % 9
            for (index, node) in nodes.enumerated() where missed != UInt64(index) { try node.apply(mutation) }
            if step % 50 == 49 { try nodes[step / 50 % 3].flush() }
        }
        let ids = (0..<3).map { UUID(high: 3, low: UInt64($0)) }
        let job = RepairJob(
            tables: [RepairTable(id: Self.table, gcBefore: 0, partitions: 40)],
            ranges: [RepairRange(tokens: TokenRange(after: 0, through: 0), replicas: ids)], now: Self.now)
        func run() throws -> RepairReport? {
            var session = RepairSession(job)
            var events: [RepairEvent] = [.begin]
            var report: RepairReport?
            while !events.isEmpty {
                for effect in session.handle(events.removeFirst(), now: 0) {
                    switch effect {
                    case .send(let number, let to, let request, _):
                        let node = nodes[Int(to.low)]
                        events.append(.reply(request: number, node.service.execute(request).reply))
                    case .progress: break
                    case .finished(let what): report = what
                    }
                }
            }
            return report
        }
        let first = try #require(try run())
        #expect(first.isComplete && first.sent.rows > 0)
        let trees = try nodes.map { try $0.tree(depth: 15) }
        #expect(
            trees[0].differences(from: trees[1]).isEmpty && trees[0].differences(from: trees[2]).isEmpty, "seed \(seed)"
        )
        let second = try #require(try run())
        #expect(second.isComplete && second.differing == 0)
    }
}
