import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

/// Random histories of one table: written, flushed, compacted, dropped, created again, kept in snapshots, with power
/// losses between operations or within them.
@Suite struct EngineHistoryTests {
    typealias Rows = [[UInt8]: [UInt8]]
    static let name = "ks/t"

    /// The table, what the schema says of it, and the model of its rows.
    struct World {
        let seed: Int
        let faults = EngineCrashTests.Faults()
        let system: MemoryFileSystem
        let time = ManualTime()
        var random: SeededRandom
        var engine: StorageEngine
        var boot: UInt64 = 1
        /// Whether the schema names the table.
        var isNamed = true
        var rows: Rows = [:]
        var clock: Int64 = 1
        var snapshots: [String: Rows] = [:]
        var snapshotNumber = 0

        init(seed: Int) throws {
            self.seed = seed
            random = SeededRandom(seed: UInt64(seed))
            let faults = faults
            system = MemoryFileSystem { _, _ in faults.reason() }
            engine = try StorageEngine(
                system: system, time: time, background: InlineBackground(), directory: "db",
                options: Self.options(boot: 1))
            _ = try engine.createTable(Sample.table, name: name, options: tableOptions)
            try engine.start()
        }

        static func options(boot: UInt64) -> StorageOptions {
            var options = EngineModelTests.options()
            options.log.segmentBytes = 4 << 10
            options.log.recycledSegments = 2
            options.log.boot = boot
            return options
        }

        var tableOptions: TableStoreOptions {
            var options = EngineModelTests.tableOptions(seed)
            options.gcGraceSeconds = 0
            if seed % 2 == 0 { options.compaction = EngineModelTests.SomeOfThem() }
            return options
        }

        var table: TableStore? { engine.table(Sample.table) }
    }

    /// One step: what it does, and the rows expected after it.
    struct Step {
        var what: String
        var after: Rows
        var body: (inout World) throws -> Void
    }

    static func step(_ world: inout World) -> Step {
        let rows = world.rows
        guard world.isNamed else {
            return Step(what: "create", after: [:]) { world in
                // Like the node: first the storage, then the schema.
                _ = try world.engine.createTable(Sample.table, name: name, options: world.tableOptions)
                world.isNamed = true
            }
        }
        world.clock += 1
        let clock = world.clock
        switch Int.random(in: 0..<100, using: &world.random) {
        case 0..<50:
            var writer = MutationWriter()
            var after = rows
            for _ in 0..<Int.random(in: 1...4, using: &world.random) {
                let key = Sample.key(
                    Int.random(in: 0..<6, using: &world.random), Int.random(in: 0..<60, using: &world.random))
                let value = [UInt8](
                    repeating: UInt8(truncatingIfNeeded: clock), count: Int.random(in: 0...200, using: &world.random))
                // Skip keys already in this mutation: of two values with one timestamp the greater would win.
                if after[key] != rows[key] { continue }
                Sample.put(key, clock, value, into: &writer)
                after[key] = value
            }
            let bytes = writer.out.toArray()
            return Step(what: "put", after: after) { world in
                try bytes.withUnsafeBytes { raw in Result { try world.engine.apply(raw) } }.get()
                try world.engine.flushLog()
            }
        case 50..<60:
            let partition = Int.random(in: 0..<6, using: &world.random)
            let low = Int.random(in: 0..<60, using: &world.random)
            let range: KeyRange =
                Bool.random(using: &world.random)
                ? .prefix(Sample.partition(partition))
                : KeyRange(start: Sample.key(partition, low), end: Sample.key(partition, low + 9))
            var writer = MutationWriter()
            Sample.delete(range, clock, world.time.wallSeconds(), into: &writer)
            let bytes = writer.out.toArray()
            let after = rows.filter { compareBytes($0.key, range.start) < 0 || compareBytes($0.key, range.end) >= 0 }
            return Step(what: "delete", after: after) { world in
                try bytes.withUnsafeBytes { raw in Result { try world.engine.apply(raw) } }.get()
                try world.engine.flushLog()
            }
        case 60..<72: return Step(what: "flush", after: rows) { if let table = $0.table { try $0.engine.flush(table) } }
        case 72..<84:
            return Step(what: "compact", after: rows) { if let table = $0.table { try $0.engine.compactAll(table) } }
        case 84..<89:
            return Step(what: "drop", after: [:]) { world in
                // Like the node: first the schema, then the storage, whose failure is only reported.
                world.isNamed = false
                do { try world.engine.dropTable(Sample.table) } catch {}
            }
        case 89..<95:
            world.snapshotNumber += 1
            let snapshot = "s\(world.snapshotNumber)"
            return Step(what: "snapshot", after: rows) { world in
                guard let table = world.table else { return }
                try world.engine.snapshot(table, name: snapshot)
                world.snapshots[snapshot] = rows
            }
        default:
            let snapshot = world.snapshots.keys.sorted().randomElement(using: &world.random)
            return Step(what: "clear", after: rows) { world in
                guard world.table != nil, let snapshot else { return }
                world.snapshots[snapshot] = nil
                for one in try world.engine.snapshots() where one.name == snapshot { try world.engine.clear(one) }
            }
        }
    }

    static func read(_ table: TableStore) throws -> Rows {
        let found = try EngineModelTests.read(table, .all, reversed: false)
        return Rows(uniqueKeysWithValues: found.map { ($0.key, $0.value) })
    }

    /// Restarts the process, or the machine, as the node does.
    static func restart(_ world: inout World, isMachine: Bool) throws {
        if isMachine {
            world.system.crash(random: &world.random)
            world.boot += 1
        }
        world.faults.set(.none)
        world.engine = try StorageEngine(
            system: world.system, time: world.time, background: InlineBackground(), directory: "db",
            options: World.options(boot: world.boot))
        if world.isNamed { _ = try world.engine.openTable(Sample.table, name: name, options: world.tableOptions) }
        try world.engine.start()
        world.engine.removeLeftovers(tables: world.isNamed ? [name] : [], keyspaces: ["ks"])
    }

    /// Checks that the directory holds exactly the files of the manifest, and that every snapshot is complete.
    static func check(_ world: World, _ what: String) throws {
        let directory = "db/data/" + name
        if let table = world.table {
            let files = Set(try world.system.list(directory).filter { $0.hasSuffix(".sst") || $0.hasSuffix(".tmp") })
            #expect(files == Set(table.tables.map { "\($0.id).sst" }), "\(what): files")
            let listed = Set(try world.engine.snapshots().map(\.name))
            #expect(listed == Set(world.snapshots.keys), "\(what): snapshots")
            #expect(try read(table) == world.rows, "\(what): rows")
        } else {
            let left = Set(try world.system.list(directory))
            #expect(left == (world.snapshots.isEmpty ? [] : ["snapshots"]), "\(what): leftovers")
        }
        for (snapshot, rows) in world.snapshots {
            let path = directory + "/snapshots/" + snapshot
            // Restore a snapshot by linking its files into another table's directory.
            let copy = "copy/" + snapshot
            try world.system.createDirectory(copy)
            for file in try world.system.list(path) where !world.system.exists(copy + "/" + file) {
                try world.system.link(path + "/" + file, to: copy + "/" + file)
            }
            var options = StorageOptions()
            options.hasLog = false
            let core = EngineCore(
                system: world.system, time: world.time, background: InlineBackground(), options: options)
            let store = try TableStore(id: Sample.table, directory: copy, options: world.tableOptions, engine: core)
            #expect(try read(store) == rows, "\(what): snapshot \(snapshot)")
        }
    }

    @Test(arguments: 0..<24) func randomHistory(seed: Int) throws {
        var world = try World(seed: seed)
        for number in 0..<400 {
            world.time.advance(microseconds: 1_000_000)
            let wasNamed = world.isNamed
            let step = Self.step(&world)
            let what = "seed \(seed), step \(number), \(step.what)"
            let fate = Int.random(in: 0..<20, using: &world.random)
            guard fate < 4 else {
                try step.body(&world)
                world.rows = step.after
                if fate == 4 {
                    let isMachine = Bool.random(using: &world.random)
                    if isMachine { try world.engine.syncLog() }
                    try Self.restart(&world, isMachine: isMachine)
                    try Self.check(world, what + ", then a restart")
                } else if fate < 7 {
                    try Self.check(world, what)
                }
                continue
            }
            // The machine loses power during the step, or one of its operations fails.
            try world.engine.syncLog()
            let at = Int.random(in: 0..<12, using: &world.random)
            let isOnce = fate == 0
            world.faults.set(isOnce ? .once(at: at) : .dead(from: at))
            let snapshots = world.snapshots
            var isDone = true
            do { try step.body(&world) } catch { isDone = false }
            // Writes that were not synced may be lost with the machine.
            if fate == 1 && (step.what == "put" || step.what == "delete") { isDone = false }
            // The schema names the table only once its storage exists, and is replaced atomically.
            if step.what == "create" && !isDone { world.isNamed = wasNamed }
            try Self.restart(&world, isMachine: fate == 1)
            if isDone {
                world.rows = step.after
            } else if let table = world.table {
                let found = try Self.read(table)
                #expect(found == world.rows || found == step.after, "\(what) died")
                world.rows = found
            }
            if step.what == "snapshot" || step.what == "clear", !isDone, world.table != nil {
                // The snapshot is there or not; if it is there, it is complete.
                let listed = Set(try world.engine.snapshots().map(\.name))
                for (snapshot, rows) in snapshots where listed.contains(snapshot) { world.snapshots[snapshot] = rows }
                let new = "s\(world.snapshotNumber)"
                if step.what == "snapshot" && listed.contains(new) { world.snapshots[new] = world.rows }
            }
            try Self.check(world, what + " died at \(at)")
        }
    }
}
