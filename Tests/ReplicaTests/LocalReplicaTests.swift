import DataModel
import LinuxPlatform
import Messages
import ModelLoop
import Platform
import Primitives
import Storage
import Synchronization
import Testing

@testable import Replica

@Suite struct LocalReplicaTests {
    static let table = UUID(high: 1, low: 2)
    static let node = UUID(high: 3, low: 4)

    static func open(
        system: any FileSystem = MemoryFileSystem(), background: any Background = InlineBackground()
    ) throws -> LocalReplica {
        let engine = try StorageEngine(
            system: system, time: ManualTime(), background: background, directory: "db",
            options: StorageOptions())
        try engine.openTable(table, name: "ks/t", options: TableStoreOptions())
        try engine.start()
        return LocalReplica(engine: engine, node: node)
    }

    static func key(_ number: UInt8) throws -> ByteWriter {
        var key = ByteWriter()
        KeyEncoding.beginPartition(into: &key)
        [number].withUnsafeBytes { KeyEncoding.addPartitionComponent($0, isOnly: true, into: &key) }
        try KeyEncoding.endPartition(of: &key)
        KeyEncoding.beginRow(into: &key)
        return key
    }

    static func writer(_ key: [UInt8]) -> ByteWriter {
        var out = ByteWriter(capacity: key.count)
        out.write(key)
        return out
    }

    static func delta(_ amount: Int64) throws -> MutationWriter {
        var writer = MutationWriter()
        writer.beginTable(table)
        writer.beginRow(key: try key(1), timestamp: 1, liveness: false)
        withUnsafeBytes(of: amount.bigEndian) { writer.cell(column: 0, timestamp: 1, value: $0, isCounter: true) }
        writer.endRow()
        writer.endTable()
        return writer
    }

    /// A write that the commit log refuses is in the memtable, and a restart would lose it: nobody may read it.
    @Test func rowsThatTheLogRefusedAreNotRead() throws {
        let isFull = Atomic<Bool>(false)
        let system = MemoryFileSystem { operation, path in
            isFull.load(ordering: .relaxed) && operation == "write" && path.hasSuffix(".log") ? .noSpace : nil
        }
        let replica = try Self.open(system: system)
        func put(_ number: UInt8) throws {
            var writer = MutationWriter()
            writer.beginTable(Self.table)
            writer.beginRow(key: try Self.key(number), timestamp: 1, liveness: true)
            writer.endRow()
            writer.endTable()
            try replica.apply(writer, type: .simple)
        }
        func isThere(_ number: UInt8) throws -> Bool {
            var isFound = false
            try replica.get(table: Self.table, key: try Self.key(number)) { _ in isFound = true }
            return isFound
        }
        func rows() throws -> Int {
            var count = 0
            try replica.scan(table: Self.table, range: .all, reversed: false) { _, _ in
                count += 1
                return .next
            }
            return count
        }
        try put(1)
        try replica.engine.flushLog()
        isFull.store(true, ordering: .relaxed)
        try put(2)
        let failures = replica.engine.logFailures
        #expect(throws: StorageError.self) { try replica.engine.flushLog() }
        #expect(replica.engine.logFailures == failures + 1)
        // The log refuses further writes before they reach the memtable.
        #expect(throws: ReplicaError.self) { try put(3) }
        #expect(try isThere(1) && !isThere(3))
        #expect(throws: ReplicaError.self) { try isThere(2) }
        #expect(throws: ReplicaError.self) { try rows() }
        let one = try Self.key(1).toArray()
        let command = ReadCommand(
            table: Self.table, range: KeyRange(start: one, end: one + [0]), rowLimit: 1, gcBefore: 0, now: 0)
        #expect(try replica.answer(command).rowCount == 1)
        let all = ReadCommand(table: Self.table, range: .all, rowLimit: 10, gcBefore: 0, now: 0)
        #expect(throws: ReplicaError.self) { try replica.answer(all) }
        // With room again the next flush writes what was refused.
        isFull.store(false, ordering: .relaxed)
        try replica.engine.flushLog()
        #expect(try isThere(2) && rows() == 2)
        #expect(try replica.answer(all).rowCount == 2)
    }

    /// for its turn.
    @Test func lockedPartitionIsWaitedFor() throws {
        let loop = ModelLoop()
        let replica = try Self.open(background: loop)
        let partition: [UInt8] = [1, 2, 3]
        var steps: [String] = []
        for name in ["first", "second", "third"] {
            loop.start { fiber in
                do {
                    try replica.withTransaction(table: Self.table, partition: partition, reading: nil) {
                        steps.append("\(name) begins")
                        fiber.sleep(nanoseconds: 1_000_000)
                        steps.append("\(name) ends")
                        return true
                    }
                } catch { Issue.record("\(error)") }
            }
        }
        #expect(steps == ["first begins"])
        loop.drain()
        #expect(
            steps == ["first begins", "first ends", "second begins", "second ends", "third begins", "third ends"])
    }

    /// No increment of a counter is lost when several threads count at once.
    @Test func concurrentCounterUpdatesAllCount() throws {
        let replica = try Self.open()
        let pools = ThreadPools(read: 4)
        let left = Atomic<Int>(4)
        let failures = Atomic<Int>(0)
        for _ in 0..<4 {
            pools.run(.read) {
                for _ in 0..<250 {
                    do { try replica.applyCounters(try Self.delta(2)) } catch { failures.add(1, ordering: .relaxed) }
                }
                left.subtract(1, ordering: .releasing)
            }
        }
        while left.load(ordering: .acquiring) > 0 { pools.sleep(nanoseconds: 1_000_000) }
        #expect(failures.load(ordering: .relaxed) == 0)
        var total: Int64 = 0
        try replica.get(table: Self.table, key: try Self.key(1)) { row in
            var cells = row.cells
            while cells.advance() { total = CounterValue.total(cells.value) }
        }
        #expect(total == 2000)
        pools.stop()
    }

    /// A row read by its key is byte for byte the row that a scan returns, in whatever sstables it is: replicas compare
    /// digests of both.
    @Test(arguments: 0..<24 as Range<UInt64>) func readByKeyEqualsScan(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func below(_ limit: UInt64) -> UInt64 { random.next() % limit }
        let replica = try Self.open()
        let store = try #require(replica.engine.table(Self.table))
        let keys = try (0..<12).map { number in
            var key = try Self.key(UInt8(number / 4))
            key.write(UInt8(number % 4))
            return key.toArray()
        }
        for index in 0..<120 {
            var writer = MutationWriter()
            writer.beginTable(Self.table)
            // Mostly increasing timestamps, so that newer sstables hide older ones.
            let stamp = below(6) == 0 ? Int64(below(120)) : Int64(index)
            let deletion = DeletionTime(timestamp: stamp, localDeletion: UInt32(below(100)))
            let key = keys[Int(below(12))]
            switch below(8) {
            case 0:
                let (first, last) = (Int(below(12)), Int(below(12)))
                guard first / 4 == last / 4, first < last else { continue }
                writer.deleteRange(KeyRange(start: keys[first], end: keys[last]), deletion: deletion)
            case 1:
                writer.beginRow(key: Self.writer(key), timestamp: stamp, liveness: false, deletion: deletion)
                writer.endRow()
            default:
                writer.beginRow(key: Self.writer(key), timestamp: stamp, liveness: below(2) == 0)
                for column in 0..<3 where below(2) == 0 {
                    switch below(4) {
                    case 0: writer.tombstone(column: column, deletion: deletion)
                    default: withUnsafeBytes(of: below(3)) { writer.cell(column: column, timestamp: stamp, value: $0) }
                    }
                }
                writer.endRow()
            }
            writer.endTable()
            try replica.apply(writer, type: .simple)
            if below(12) == 0 { try replica.engine.flush(store) }
        }
        for gcBefore in [0, 30, 200] as [UInt32] {
            for key in keys {
                let command = ReadCommand(
                    table: Self.table, range: KeyRange(start: key, end: key + [0]), rowLimit: 1, gcBefore: gcBefore,
                    now: 50)
                #expect(command.isOneKey)
                // Excluding an sstable that does not exist makes the read a scan.
                #expect(try replica.answer(command) == replica.answer(command, excluding: [.max]))
            }
        }
    }
}
