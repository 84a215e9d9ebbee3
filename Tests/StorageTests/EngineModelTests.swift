import DataModel
import LinuxPlatform
import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct EngineModelTests {
    static func options(small: Bool = true) -> StorageOptions {
        var options = StorageOptions()
        options.memtableBytes = 64 << 20
        options.compactionBytesPerSecond = 0
        options.log.segmentBytes = 64 << 10
        options.shards = 4
        return options
    }

    static func tableOptions(_ codec: Int) -> TableStoreOptions {
        var options = TableStoreOptions()
        options.files.blockBytes = 512
        options.files.codec = [.none, .lz4, .snappy, .zstd(level: 3)][codec % 4]
        options.compaction = nil
        return options
    }

    static func open(
        _ system: any FileSystem, _ time: ManualTime, codec: Int, forgets: Bool = false
    ) throws -> (StorageEngine, TableStore) {
        let engine = try StorageEngine(
            system: system, time: time, background: InlineBackground(), directory: "db", options: options())
        var options = tableOptions(codec)
        if forgets {
            options.gcGraceSeconds = 0
            options.compaction = SomeOfThem()
        }
        let table = try engine.openTable(Sample.table, name: "ks/t", options: options)
        try engine.start()
        return (engine, table)
    }

    /// Compacts an arbitrary subset of the sstables, so that a tombstone may meet only part of what it shadows.
    struct SomeOfThem: CompactionStrategy {
        var name: String { "SomeOfThem" }
        func next(_ tables: [SSTable], now: UInt32, gcGraceSeconds: UInt32) -> CompactionTask? {
            guard tables.count > 3 else { return nil }
            let some = tables.filter { ($0.id ^ now) % 3 != 0 }
            // At least two, so that each round leaves fewer files and the rounds end.
            return some.count < 2 ? nil : CompactionTask(inputs: Array(some.suffix(3)), reason: "test")
        }
    }

    static func read(_ table: TableStore, _ range: KeyRange, reversed: Bool) throws -> [(key: [UInt8], value: [UInt8])]
    {
        var found: [(key: [UInt8], value: [UInt8])] = []
        try table.scan(range, reversed: reversed) { key, row in
            if let value = Sample.value(row) { found.append(([UInt8](key), value)) }
            return true
        }
        return found
    }

    static func same(_ a: [(key: [UInt8], value: [UInt8])], _ b: [(key: [UInt8], value: [UInt8])]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && $0.value == $1.value }
    }

    /// Random histories of writes, range deletions, flushes, compactions and crashes: every read agrees with the model.
    ///
    /// From seed 12 on, tombstones may be purged at once; then writes have no timestamps in the past.
    @Test(arguments: 0..<18) func randomHistory(seed: Int) throws {
        let forgets = seed >= 12
        var random = SeededRandom(seed: UInt64(seed))
        let system = MemoryFileSystem()
        let time = ManualTime()
        var (engine, table) = try Self.open(system, time, codec: seed, forgets: forgets)
        var model = EngineModel()
        let partitions = seed % 3 == 0 ? 1 : 12
        var clock: Int64 = 1000
        for step in 0..<600 {
            clock += 1
            time.advance(microseconds: 1_000_000)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<70:
                var writer = MutationWriter()
                for _ in 0..<Int.random(in: 1...5, using: &random) {
                    let key = Sample.key(
                        Int.random(in: 0..<partitions, using: &random), Int.random(in: 0..<200, using: &random))
                    let stamp =
                        forgets || Bool.random(using: &random) ? clock : Int64.random(in: 1...clock, using: &random)
                    let value = [UInt8](
                        repeating: UInt8.random(in: 0...255, using: &random),
                        count: Int.random(in: 0...60, using: &random))
                    Sample.put(key, stamp, value, into: &writer)
                    model.put(key, stamp, value)
                }
                try engine.apply(writer.out.bytes)
                try engine.flushLog()
            case 70..<80:
                let partition = Int.random(in: 0..<partitions, using: &random)
                let a = Int.random(in: 0..<200, using: &random)
                let b = Int.random(in: 0..<200, using: &random)
                let range: KeyRange =
                    Int.random(in: 0..<4, using: &random) == 0
                    ? .prefix(Sample.partition(partition))
                    : KeyRange(start: Sample.key(partition, min(a, b)), end: Sample.key(partition, max(a, b) + 1))
                let stamp = Int64.random(in: 1...clock, using: &random)
                var writer = MutationWriter()
                Sample.delete(range, stamp, time.wallSeconds(), into: &writer)
                model.deletes.append(.init(range: range, timestamp: stamp))
                try engine.apply(writer.out.bytes)
                try engine.flushLog()
            case 80..<84: try engine.flush(table)
            case 84..<86: try engine.compactAll(table)
            case 86..<89:
                // The process is killed: what was flushed to the log is there.
                try engine.log?.flush()
                (engine, table) = try Self.open(system, time, codec: seed, forgets: forgets)
            case 89..<91:
                // The machine loses power: what was synced is there.
                try engine.syncLog()
                system.crash(random: &random)
                (engine, table) = try Self.open(system, time, codec: seed, forgets: forgets)
            default:
                let expected = model.visible()
                let reversed = Bool.random(using: &random)
                if Bool.random(using: &random) {
                    let partition = Int.random(in: 0..<partitions, using: &random)
                    let a = Int.random(in: 0..<200, using: &random)
                    let b = Int.random(in: 0..<200, using: &random)
                    let range = KeyRange(start: Sample.key(partition, min(a, b)), end: Sample.key(partition, max(a, b)))
                    let part = expected.filter {
                        compareBytes(range.start, $0.key) <= 0 && compareBytes($0.key, range.end) < 0
                    }
                    #expect(
                        Self.same(try Self.read(table, range, reversed: reversed), reversed ? part.reversed() : part),
                        "seed \(seed), step \(step)")
                    let key = Sample.key(partition, a)
                    var found: [UInt8]?
                    try key.withUnsafeBytes { bytes in
                        Result { try table.get(bytes) { found = Sample.value($0) } }
                    }.get()
                    #expect(found == expected.first { $0.key == key }?.value, "seed \(seed), step \(step): get")
                } else {
                    #expect(
                        Self.same(
                            try Self.read(table, .all, reversed: reversed), reversed ? expected.reversed() : expected),
                        "seed \(seed), step \(step)")
                }
            }
        }
        try engine.compactAll(table)
        #expect(Self.same(try Self.read(table, .all, reversed: false), model.visible()))
        try engine.close()
    }
}
