import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Testing

/// The batchlog on a real engine.
@Suite struct BatchLogTests {
    private static let table = UUID(high: 1, low: 2)

    private final class Node {
        let engine: StorageEngine
        let service: ReplicaService

        init(_ system: any FileSystem) throws {
            engine = try StorageEngine(
                system: system, time: ManualTime(), background: InlineBackground(), directory: "db",
                options: StorageOptions())
            try engine.openTable(BatchLogTests.table, name: "ks/t", options: TableStoreOptions())
            try BatchLog.open(engine)
            try engine.start()
            service = ReplicaService(replica: LocalReplica(engine: engine, node: UUID(high: 3, low: 4)))
        }

        var log: BatchLog { service.batchLog }

        func look(before limit: Int64 = .max, bytes: Int = 1 << 20, count: Int = 100) throws -> [[LoggedBatch]] {
            var pages: [[LoggedBatch]] = []
            try log.look(before: limit, pageBytes: bytes, pageCount: count) { page throws(ReplicaError) in
                pages.append(page)
                return .next
            }
            return pages
        }

        func found(before limit: Int64 = .max) throws -> [LoggedBatch] { try look(before: limit).flatMap { $0 } }
    }

    private static func key(_ created: Int64, _ id: UInt64 = 7) -> BatchKey {
        BatchKey(created: created, id: UUID(high: 9, low: id))
    }

    private static func batch(_ created: Int64, _ id: UInt64 = 7, bytes: Int = 10) throws -> LoggedBatch {
        var out = MutationWriter()
        out.beginTable(table)
        out.beginRow(
            key: try LocalReplicaTests.key(UInt8(truncatingIfNeeded: created)), timestamp: created, liveness: true)
        [UInt8](repeating: UInt8(truncatingIfNeeded: id), count: bytes).withUnsafeBytes {
            out.cell(column: 0, timestamp: created, value: $0)
        }
        out.endRow()
        out.endTable()
        return LoggedBatch(key: key(created, id), mutations: out.out.toArray())
    }

    @Test func batchesAreFoundInOrderUntilRemoved() throws {
        let node = try Node(MemoryFileSystem())
        #expect(try node.found() == [])
        let batches = [try Self.batch(100, 1), try Self.batch(100, 2), try Self.batch(200), try Self.batch(300)]
        for batch in batches.reversed() {
            guard case .done = node.service.execute(.storeBatch(batch)).reply else {
                Issue.record("not stored")
                return
            }
        }
        #expect(node.log.stored == 4)
        #expect(try node.found() == batches)
        #expect(try node.found(before: 300) == Array(batches.prefix(3)))
        #expect(try node.found(before: 100) == [])
        guard case .done = node.service.execute(.removeBatch(batches[1].key)).reply else {
            Issue.record("not removed")
            return
        }
        #expect(try node.found() == [batches[0], batches[2], batches[3]])
        try node.engine.flushAll()
        try node.log.remove(batches[0].key)
        #expect(try node.found() == [batches[2], batches[3]])
    }

    @Test func copyAfterTheRemovalIsNotStored() throws {
        let node = try Node(MemoryFileSystem())
        let batch = try Self.batch(100)
        try node.log.remove(batch.key)
        try node.log.store(batch)
        #expect(try node.found() == [])
        let other = try Self.batch(101)
        try node.log.store(other)
        try node.log.remove(other.key)
        try node.engine.flushAll()
        try node.log.store(other)
        #expect(try node.found() == [])
    }

    /// A look starts at the oldest batch the last look found; a batch that is stored with an older time is found all
    /// the same.
    @Test func lateBatchIsFound() throws {
        let node = try Node(MemoryFileSystem())
        try node.log.store(try Self.batch(500))
        try node.log.remove(Self.key(500))
        #expect(try node.found(before: 1000) == [])
        let late = try Self.batch(400)
        try node.log.store(late)
        #expect(try node.found(before: 1000) == [late])
        // Also a batch that is stored during a look, before the position the look has reached.
        let later = try Self.batch(300)
        try node.log.look(before: 1000, pageBytes: 1, pageCount: 1) { page throws(ReplicaError) in
            if page == [late] {
                try node.log.store(later)
                try node.log.remove(late.key)
            }
            return .next
        }
        #expect(try node.found(before: 1000) == [later])
        #expect(try node.found() == [later])
    }

    @Test func pagesAreLimitedByBytesAndByNumber() throws {
        let node = try Node(MemoryFileSystem())
        let batches = try (1...9).map { try Self.batch(Int64($0), bytes: 1000) }
        for batch in batches { try node.log.store(batch) }
        #expect(try node.look(bytes: 1).map(\.count) == [1, 1, 1, 1, 1, 1, 1, 1, 1])
        #expect(try node.look(bytes: 2500).map(\.count) == [3, 3, 3])
        #expect(try node.look(count: 4).map(\.count) == [4, 4, 1])
        #expect(try node.look(count: 4).flatMap { $0 } == batches)
        // A look that stops finds the remaining batches the next time.
        try node.log.look(before: .max, pageBytes: 1, pageCount: 1) { page throws(ReplicaError) in .stop }
        #expect(try node.found() == batches)
    }

    @Test func batchOfAnUnknownTableIsRefused() throws {
        let node = try Node(MemoryFileSystem())
        var out = MutationWriter()
        out.beginTable(UUID(high: 8, low: 8))
        out.endTable()
        let batch = LoggedBatch(key: Self.key(1), mutations: try Self.batch(1).mutations + out.out.toArray())
        guard case .failed(.unknownTable, _) = node.service.execute(.storeBatch(batch)).reply else {
            Issue.record("stored")
            return
        }
        #expect(try node.found() == [])
    }

    /// After a kill without a flush, the next run finds what was stored in the commit log and nothing that was removed.
    @Test(arguments: 0..<20) func batchesSurviveARestart(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let system = MemoryFileSystem()
        var node = try Node(system)
        var expected: [BatchKey: LoggedBatch] = [:]
        var removed: [LoggedBatch] = []
        for _ in 0..<6 {
            for _ in 0..<20 {
                let choice = random.next() % 10
                if choice < 6 {
                    let batch = try Self.batch(
                        Int64(1 + random.next() % 1000), random.next(), bytes: Int(random.next() % 5000))
                    try node.log.store(batch)
                    expected[batch.key] = batch
                } else if choice < 9, let key = expected.keys.sorted().first {
                    removed.append(expected.removeValue(forKey: key)!)
                    try node.log.remove(key)
                } else if let late = removed.last {
                    try node.log.store(late)
                }
            }
            #expect(try node.found() == expected.values.sorted { $0.key < $1.key })
            if random.next() % 3 == 0 { try node.engine.flushAll() }
            if random.next() % 2 == 0 {
                try node.engine.close()
            } else {
                // Acknowledged writes are in the kernel's hands.
                try node.engine.flushLog()
            }
            node = try Node(system)
            #expect(try node.found() == expected.values.sorted { $0.key < $1.key }, "seed \(seed)")
        }
    }
}
