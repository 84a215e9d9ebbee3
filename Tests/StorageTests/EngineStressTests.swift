import DataModel
import Glibc
import LinuxPlatform
import Platform
import Primitives
import Synchronization
import Testing

@testable import Storage

/// The engine on real files with real threads: writers, readers, scans, flushes, compactions, snapshots and drops at
/// once.
@Suite struct EngineStressTests {
    static let seconds = 6.0

    /// Compacts as soon as there are two sstables.
    struct Eager: CompactionStrategy {
        var name: String { "Eager" }
        func next(_ tables: [SSTable], now: UInt32, gcGraceSeconds: UInt32) -> CompactionTask? {
            tables.count < 2 ? nil : CompactionTask(inputs: Array(tables.prefix(4)), reason: "test")
        }
    }

    /// The threads of a test and the time when they end.
    final class Crew: Sendable {
        private let left = Atomic<Int>(0)
        private let problems = Mutex<[String]>([])
        private let ends: UInt64

        init(seconds: Double) { ends = SystemTime().monotonicNanoseconds() + UInt64(seconds * 1e9) }

        var isOver: Bool { SystemTime().monotonicNanoseconds() >= ends || problems.withLock { $0.count > 10 } }
        func complain(_ what: String) { problems.withLock { $0.append(what) } }

        private final class Work: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }

        func run(_ work: @escaping @Sendable () throws -> Void) {
            left.add(1, ordering: .relaxed)
            let box = Work { [self] in
                do { try work() } catch { complain("\(error)") }
                left.subtract(1, ordering: .releasing)
            }
            var thread = pthread_t()
            let context = Unmanaged.passRetained(box).toOpaque()
            let failed = pthread_create(
                &thread, nil,
                { raw in
                    guard let raw else { return nil }
                    Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body()
                    return nil
                }, context)
            precondition(failed == 0, "no thread")
            pthread_detach(thread)
        }

        func wait() -> [String] {
            while left.load(ordering: .acquiring) > 0 { usleep(2000) }
            return problems.withLock { $0 }
        }
    }

    /// The id of the table that is dropped and created again repeatedly.
    static func successor(_ number: Int) -> UUID { UUID(high: 7, low: UInt64(number)) }

    static func open(_ directory: String, _ pools: ThreadPools, successor: Int = 0) throws -> (
        StorageEngine, TableStore, TableStore
    ) {
        var options = StorageOptions()
        options.memtableBytes = 4 << 20
        options.cacheBytes = 2 << 20
        options.compactionBytesPerSecond = 0
        options.shards = 4
        options.log.segmentBytes = 256 << 10
        options.log.totalBytes = 4 << 20
        let engine = try StorageEngine(
            system: PosixFileSystem(), time: SystemTime(), background: pools, directory: directory, options: options)
        let first = try engine.openTable(Sample.table, name: "ks/t", options: tableOptions())
        let second = try engine.openTable(self.successor(successor), name: "ks/u\(successor)", options: tableOptions())
        try engine.start()
        return (engine, first, second)
    }

    private static func tableOptions() -> TableStoreOptions {
        var table = EngineModelTests.tableOptions(1)
        table.gcGraceSeconds = 0
        table.compaction = Eager()
        return table
    }

    private static func create(_ engine: StorageEngine, _ number: Int) throws -> TableStore {
        try engine.createTable(successor(number), name: "ks/u\(number)", options: tableOptions())
    }

    static func same(_ table: TableStore, partition: Int, _ rows: [Int: [UInt8]], reversed: Bool, _ crew: Crew) throws {
        let found = try EngineModelTests.read(table, .prefix(Sample.partition(partition)), reversed: reversed)
        let expected = rows.sorted { reversed ? $0.key > $1.key : $0.key < $1.key }
        let isSame =
            found.count == expected.count
            && zip(found, expected).allSatisfy { $0.key == Sample.key(partition, $1.key) && $0.value == $1.value }
        if !isSame {
            crew.complain(
                "partition \(partition): \(found.count) rows read, \(expected.count) expected, or other values")
        }
    }

    /// Writes one partition from one thread only, so that every read of it can be checked exactly.
    static func work(_ engine: StorageEngine, _ table: TableStore, partition: Int, _ crew: Crew) throws -> [Int:
        [UInt8]]
    {
        var random = SeededRandom(seed: UInt64(partition))
        var rows: [Int: [UInt8]] = [:]
        var clock: Int64 = 0
        var writer = MutationWriter()
        while !crew.isOver {
            clock += 1
            writer.removeAll()
            switch Int.random(in: 0..<40, using: &random) {
            case 0:
                let low = Int.random(in: 0..<300, using: &random)
                let high = low + Int.random(in: 1..<40, using: &random)
                let range = KeyRange(start: Sample.key(partition, low), end: Sample.key(partition, high))
                Sample.delete(range, clock, SystemTime().wallSeconds() - 10, into: &writer)
                try engine.apply(writer.out.bytes)
                for row in low..<high { rows[row] = nil }
            case 1: try same(table, partition: partition, rows, reversed: clock % 2 == 0, crew)
            case 2..<10:
                let row = Int.random(in: 0..<300, using: &random)
                var found: [UInt8]?
                try Sample.key(partition, row).withUnsafeBytes { key in
                    Result { try table.get(key) { found = Sample.value($0) } }
                }.get()
                if found != rows[row] {
                    crew.complain(
                        "partition \(partition), row \(row): \(found?.count ?? -1) bytes, \(rows[row]?.count ?? -1) expected"
                    )
                }
            default:
                let row = Int.random(in: 0..<300, using: &random)
                let value = [UInt8](
                    repeating: UInt8(truncatingIfNeeded: clock), count: Int.random(in: 0..<300, using: &random))
                Sample.put(Sample.key(partition, row), clock, value, into: &writer)
                try engine.apply(writer.out.bytes)
                rows[row] = value
            }
            if clock % 8 == 0 { try engine.flushLog() }
        }
        return rows
    }

    final class Models: Sendable {
        let rows = Mutex<[Int: [Int: [UInt8]]]>([:])
    }

    /// The current one of the tables that are dropped and created again.
    final class Place: Sendable {
        private let state: Mutex<(store: TableStore, number: Int)>
        init(_ store: TableStore) { state = Mutex((store, 0)) }
        var store: TableStore { state.withLock { $0.store } }
        var number: Int { state.withLock { $0.number } }
        func replace(by store: TableStore) { state.withLock { $0 = (store, $0.number + 1) } }
    }

    @Test func concurrentOperationsAgreeWithAModel() throws {
        let directory = "/tmp/auspex-stress-\(getpid())"
        let system = PosixFileSystem()
        defer { Self.remove(system, directory) }
        let pools = ThreadPools(flush: 2, compaction: 2)
        let (engine, table, first) = try Self.open(directory, pools)
        let crew = Crew(seconds: Self.seconds)
        let place = Place(first)
        let models = Models()
        for partition in 0..<4 {
            crew.run {
                let rows = try Self.work(engine, table, partition: partition, crew)
                models.rows.withLock { $0[partition] = rows }
            }
        }
        crew.run {
            var round = 0
            while !crew.isOver {
                round += 1
                try engine.flush(table)
                try engine.flush(place.store)
                if round % 5 == 0 { try engine.compactAll(table) }
                if round % 3 == 0 { try engine.compactAll(place.store) }
                if round % 7 == 0 { try engine.snapshot(table, name: "s\(round)") }
                try engine.syncLog()
                usleep(5000)
            }
        }
        crew.run {
            // Full scans return keys in order, whatever else happens.
            while !crew.isOver {
                for reversed in [false, true] {
                    let keys = try EngineModelTests.read(table, .all, reversed: reversed).map(\.key)
                    let isOrdered = zip(keys, keys.dropFirst()).allSatisfy { (compareBytes($0, $1) < 0) != reversed }
                    if !isOrdered { crew.complain("a scan is out of order") }
                }
            }
        }
        crew.run {
            // Dropped rows stay away even while the table is flushed and compacted.
            var round = 0
            var writer = MutationWriter()
            while !crew.isOver {
                round += 1
                for row in 0..<40 {
                    writer.removeAll()
                    var key = ByteWriter()
                    key.write(Sample.key(row % 3, row))
                    writer.beginTable(Self.successor(round - 1))
                    writer.beginRow(key: key, timestamp: Int64(round), liveness: false)
                    [UInt8](repeating: 1, count: 100).withUnsafeBytes {
                        writer.cell(column: 0, timestamp: Int64(round), value: $0)
                    }
                    writer.endRow()
                    writer.endTable()
                    try engine.apply(writer.out.bytes)
                    if row % 10 == 0 { usleep(1000) }
                }
                let count = try EngineModelTests.read(place.store, .all, reversed: false).count
                if count != 40 { crew.complain("round \(round): \(count) rows of 40 before dropping") }
                try place.replace(by: Self.create(engine, round))
                try engine.dropTable(Self.successor(round - 1))
                for _ in 0..<3 {
                    let left = try EngineModelTests.read(place.store, .all, reversed: false).count
                    if left != 0 { crew.complain("round \(round): \(left) rows after dropping") }
                    usleep(500)
                }
            }
        }
        let problems = crew.wait()
        #expect(problems.isEmpty, "\(problems.prefix(5))")
        #expect(table.flushCount.load(ordering: .relaxed) > 3 && table.compactionCount.load(ordering: .relaxed) > 3)
        #expect(engine.failure == nil, "\(engine.failure ?? "")")
        let final = models.rows.withLock { $0 }
        let check = Crew(seconds: 60)
        for (partition, rows) in final { try Self.same(table, partition: partition, rows, reversed: false, check) }
        // As after a kill: the log has what was given to the kernel, and the memtables were not flushed.
        try engine.flushLog()
        try engine.closeQuickly()
        pools.stop()
        // Nothing is left of dropped tables, even if they were being compacted.
        #expect(Set(try system.list(directory + "/data/ks")) == ["t", "u\(place.number)"])
        let morePools = ThreadPools()
        let (again, reopened, emptied) = try Self.open(directory, morePools, successor: place.number)
        for (partition, rows) in final { try Self.same(reopened, partition: partition, rows, reversed: true, check) }
        try again.compactAll(reopened)
        for (partition, rows) in final { try Self.same(reopened, partition: partition, rows, reversed: false, check) }
        #expect(try EngineModelTests.read(emptied, .all, reversed: false).isEmpty)
        #expect(check.wait().isEmpty, "\(check.wait())")
        for store in [reopened, emptied] {
            for file in store.tables { #expect(try SSTableVerifier(system: system, path: file.path).verify().isGood) }
        }
        try again.close()
        morePools.stop()
    }

    static func remove(_ system: PosixFileSystem, _ directory: String) {
        do {
            for name in try system.list(directory) {
                let path = directory + "/" + name
                do { try system.remove(path) } catch { remove(system, path) }
            }
            try system.removeDirectory(directory)
        } catch {}  // a leftover in /tmp is harmless
    }
}
