import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

/// What a restart must find, and what a failed step must not destroy.
@Suite struct EngineRecoveryTests {
    static func open(_ system: any FileSystem, shards: Int = 4) throws -> (StorageEngine, TableStore) {
        try EngineModelTests.open(system, ManualTime(), codec: 1)
    }

    static func put(_ engine: StorageEngine, _ row: Int, timestamp: Int64 = 1, bytes: Int = 8) throws {
        var writer = MutationWriter()
        Sample.put(
            Sample.key(1, row), timestamp, [UInt8](repeating: UInt8(truncatingIfNeeded: row), count: bytes),
            into: &writer)
        try engine.apply(writer.out.bytes)
    }

    static func rows(_ table: TableStore) throws -> Int {
        try EngineModelTests.read(table, .all, reversed: false).count
    }

    /// A flush records the log's position in memory. If the process is killed before that part of the log is written,
    /// the next run must not reuse the positions: what it logs there would count as flushed.
    @Test func flushedLogPositionsAreNotReused() throws {
        let system = MemoryFileSystem()
        var (engine, table) = try Self.open(system)
        for row in 0..<10 { try Self.put(engine, row, bytes: 20_000) }
        try engine.flush(table)
        (engine, table) = try Self.open(system)
        try Self.put(engine, 100)
        try engine.syncLog()
        (engine, table) = try Self.open(system)
        #expect(try Self.rows(table) == 11)
    }

    /// The same after the commit log's directory was lost.
    @Test func removedLogDoesNotHideNewWrites() throws {
        let system = MemoryFileSystem()
        var (engine, table) = try Self.open(system)
        for row in 0..<10 { try Self.put(engine, row, bytes: 20_000) }
        try engine.close()
        for name in try system.list("db/commitlog") { try system.remove("db/commitlog/" + name) }
        (engine, table) = try Self.open(system)
        try Self.put(engine, 100)
        try engine.syncLog()
        (engine, table) = try Self.open(system)
        #expect(try Self.rows(table) == 11)
    }

    /// What a killed process left in the kernel is synced by the next start: a power loss after that loses nothing and
    /// is not taken for damage.
    @Test(arguments: 0..<12) func logOfAKilledProcessIsSynced(seed: UInt64) throws {
        let system = MemoryFileSystem()
        var (engine, table) = try EngineCrashTests.open(system, boot: 1)
        for row in 0..<40 {
            try Self.put(engine, row, bytes: 300)
            if row % 5 == 0 { try engine.flushLog() }
        }
        try engine.flushLog()
        (engine, table) = try EngineCrashTests.open(system, boot: 1)
        try Self.put(engine, 40)
        try engine.syncLog()
        try Self.put(engine, 41)
        try engine.syncLog()
        var random = SeededRandom(seed: seed)
        system.crash(random: &random)
        (engine, table) = try EngineCrashTests.open(system, boot: 2)
        #expect(try Self.rows(table) == 42)
    }

    /// A process killed between creating a segment and writing its header leaves a blank file, or a recycled one under
    /// a new name. That is no damage, neither at the next start nor at a later one when another segment follows.
    @Test(arguments: [false, true]) func blankSegmentIsNotDamage(isRecycled: Bool) throws {
        let system = MemoryFileSystem()
        var (engine, table) = try EngineCrashTests.open(system, boot: 1)
        for row in 0..<40 { try Self.put(engine, row, bytes: 300) }
        try engine.syncLog()
        let log = try #require(engine.log)
        let newest = try #require(log.segments.max())
        var blank = [UInt8](repeating: 0, count: 4096)
        if isRecycled {
            blank = try system.readAll("db/commitlog/" + CommitLog.name(newest))
            // The newest segment has an end mark, as it does when another one is opened.
            try log.close()
        }
        let file = try system.open("db/commitlog/" + CommitLog.name(newest + 1), .create)
        try blank.withUnsafeBytes { raw in Result { try file.write(raw, at: 0) } }.get()
        for start in 1...3 {
            (engine, table) = try EngineCrashTests.open(system, boot: 1)
            try Self.put(engine, 39 + start)
            try engine.flushLog()
        }
        (engine, table) = try EngineCrashTests.open(system, boot: 1)
        #expect(try Self.rows(table) == 43)
    }

    /// A manifest may have reached the disk although syncing its directory failed: the files it names must stay.
    @Test func fileThatTheManifestMayNameIsKept() throws {
        let isArmed = Flag()
        let isRenamed = Flag()
        let system = MemoryFileSystem { operation, path in
            if isArmed.isSet && operation == "rename" && path.hasSuffix("MANIFEST.tmp") { isRenamed.set(true) }
            return isRenamed.isSet && operation == "sync" && path == "db/data/ks/t" ? .failed(errno: 5) : nil
        }
        var (engine, table) = try Self.open(system)
        for row in 0..<10 { try Self.put(engine, row) }
        try engine.syncLog()
        isArmed.set(true)
        #expect(throws: StorageError.self) { try engine.flush(table) }
        isArmed.set(false)
        isRenamed.set(false)
        (engine, table) = try Self.open(system)
        #expect(try Self.rows(table) == 10)
    }

    /// A failed flush leaves no files behind, and the next one writes its rows.
    @Test func failedFlushIsRetried() throws {
        let full = Flag()
        let system = MemoryFileSystem { operation, path in
            full.isSet && operation == "write" && path.contains("/data/") ? .noSpace : nil
        }
        var (engine, table) = try Self.open(system)
        for row in 0..<10 { try Self.put(engine, row) }
        full.set(true)
        #expect(throws: StorageError.self) { try engine.flush(table) }
        #expect(try system.list("db/data/ks/t").filter { $0.hasSuffix(".sst") }.isEmpty)
        for row in 10..<20 { try Self.put(engine, row) }
        #expect(try Self.rows(table) == 20)
        full.set(false)
        try engine.flush(table)
        #expect(try Self.rows(table) == 20)
        #expect(engine.memtableBytes == 0)
        try engine.close()
        (engine, table) = try Self.open(system)
        #expect(table.tables.count == 1)
        #expect(try Self.rows(table) == 20)
    }

    @Test func missingManifestIsAnError() throws {
        let system = MemoryFileSystem()
        let (engine, table) = try Self.open(system)
        try Self.put(engine, 1)
        try engine.close()
        _ = table
        try system.remove("db/data/ks/t/MANIFEST")
        #expect(throws: StorageError.self) { try Self.open(system) }
        #expect(try system.list("db/data/ks/t").contains { $0.hasSuffix(".sst") })
    }

    @Test func batchWithAnUnknownTableChangesNothing() throws {
        let system = MemoryFileSystem()
        let (engine, table) = try Self.open(system)
        var writer = MutationWriter()
        Sample.put(Sample.key(1, 1), 1, [1], into: &writer)
        writer.beginTable(UUID(high: 9, low: 9))
        writer.endTable()
        let bytes = writer.out.toArray()
        #expect(throws: StorageError.self) {
            try bytes.withUnsafeBytes { raw in Result { try engine.apply(raw) } }.get()
        }
        #expect(try Self.rows(table) == 0)
    }

    @Test func failedSnapshotMayBeTakenAgain() throws {
        let failing = Flag()
        let system = MemoryFileSystem { operation, _ in failing.isSet && operation == "link" ? .noSpace : nil }
        let (engine, table) = try Self.open(system)
        try Self.put(engine, 1)
        failing.set(true)
        #expect(throws: StorageError.self) { try engine.snapshot(table, name: "a") }
        failing.set(false)
        try engine.snapshot(table, name: "a")
        #expect(try engine.snapshots().map(\.name) == ["a"])
        #expect(throws: StorageError.self) { try engine.snapshot(table, name: "a") }
    }

    /// Compacts all sstables, once.
    private final class AllOnce: CompactionStrategy {
        let isArmed = Flag()
        var name: String { "AllOnce" }
        func next(_ tables: [SSTable], now: UInt32, gcGraceSeconds: UInt32) -> CompactionTask? {
            guard isArmed.isSet else { return nil }
            isArmed.set(false)
            return CompactionTask(inputs: tables, reason: "test")
        }
    }

    /// A tombstone stays while older data that it shadows is flushed during the compaction.
    @Test func tombstoneIsKeptForDataFlushedMeanwhile() throws {
        let meanwhile = Meanwhile()
        let isArmed = Flag()
        let system = MemoryFileSystem { operation, path in
            if isArmed.isSet && operation == "read" && path.hasSuffix("/1.sst") {
                isArmed.set(false)
                meanwhile.run()
            }
            return nil
        }
        let time = ManualTime()
        let engine = try StorageEngine(
            system: system, time: time, background: InlineBackground(), directory: "db",
            options: EngineModelTests.options())
        let strategy = AllOnce()
        var options = EngineModelTests.tableOptions(1)
        options.gcGraceSeconds = 0
        options.compaction = strategy
        let table = try engine.openTable(Sample.table, name: "ks/t", options: options)
        try engine.start()
        try Self.put(engine, 1, timestamp: 5)
        try engine.flush(table)
        var writer = MutationWriter()
        Sample.delete(.prefix(Sample.partition(1)), 100, 1000, into: &writer)
        try engine.apply(writer.out.bytes)
        try engine.flush(table)
        writer.removeAll()
        Sample.put(Sample.key(2, 1), 5, [1], into: &writer)
        try engine.apply(writer.out.bytes)
        meanwhile.set {
            do {
                try Self.put(engine, 2, timestamp: 50)
                try engine.flush(table)
            } catch { Issue.record("\(error)") }
        }
        strategy.isArmed.set(true)
        isArmed.set(true)
        try engine.flush(table)
        #expect(!isArmed.isSet)
        #expect(table.compactionCount.load(ordering: .relaxed) == 1)
        #expect(try Self.rows(table) == 1)
    }

    /// A compaction starts only when the disk has space for its output.
    @Test func compactionWaitsForDiskSpace() throws {
        let system = MemoryFileSystem()
        let (engine, table) = try Self.open(system)
        for row in 0..<2 {
            try Self.put(engine, row)
            try engine.flush(table)
        }
        system.setFreeSpace(1000)
        #expect(throws: StorageError.self) { try engine.compactAll(table) }
        #expect(table.tables.count == 2)
        system.setFreeSpace(1 << 30)
        try engine.compactAll(table)
        #expect(table.tables.count == 1)
        #expect(try Self.rows(table) == 2)
    }

    /// The memory of a write to a dropped table is released.
    @Test func droppedTableFreesItsMemory() throws {
        let system = MemoryFileSystem()
        let engine = try StorageEngine(
            system: system, time: ManualTime(), background: InlineBackground(), directory: "db",
            options: EngineModelTests.options())
        var table: TableStore? = try engine.openTable(
            Sample.table, name: "ks/t", options: EngineModelTests.tableOptions(1))
        try engine.start()
        try Self.put(engine, 1)
        #expect(engine.memtableBytes > 0)
        try engine.dropTable(Sample.table)
        #expect(engine.memtableBytes == 0)
        // A write that had looked the table up before it was dropped.
        let grown =
            Sample.key(1, 2).withUnsafeBytes { key in
                [UInt8(0)].withUnsafeBytes { table?.shard(of: key).put(key: key, row: $0) }
            } ?? 0
        engine.core.memoryBytes.add(grown, ordering: .relaxed)
        engine.core.activeBytes.add(grown, ordering: .relaxed)
        #expect(engine.memtableBytes > 0)
        table = nil
        #expect(engine.memtableBytes == 0)
    }
}
