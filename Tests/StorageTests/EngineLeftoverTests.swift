import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

/// What remains of a dropped table is removed, and nothing else.
@Suite struct EngineLeftoverTests {
    static func create(_ engine: StorageEngine) throws -> TableStore {
        try engine.createTable(Sample.table, name: "ks/t", options: EngineModelTests.tableOptions(1))
    }

    /// A table created with the id of a dropped one has none of its rows, neither from its files nor from the log.
    @Test(arguments: [false, true]) func tableWithTheIDOfADroppedTableIsEmpty(isDirectoryLeft: Bool) throws {
        let stuck = Flag()
        let system = MemoryFileSystem { operation, path in
            stuck.isSet && (operation == "remove" || path.contains("MANIFEST")) ? .failed(errno: 5) : nil
        }
        var (engine, table) = try EngineRecoveryTests.open(system)
        for row in 0..<4 { try EngineRecoveryTests.put(engine, row) }
        try engine.flush(table)
        for row in 4..<8 { try EngineRecoveryTests.put(engine, row) }
        try engine.syncLog()
        if isDirectoryLeft {
            stuck.set(true)
            #expect(throws: StorageError.self) { try engine.dropTable(Sample.table) }
            stuck.set(false)
        } else {
            try engine.dropTable(Sample.table)
            #expect(try system.list("db/data/ks").isEmpty)
        }
        table = try Self.create(engine)
        #expect(try EngineRecoveryTests.rows(table) == 0)
        try EngineRecoveryTests.put(engine, 20)
        try engine.syncLog()
        (engine, table) = try EngineRecoveryTests.open(system)
        #expect(try EngineCrashTests.present(table) == [20])
    }

    /// A directory whose snapshots were cleared is removed with its table.
    @Test func clearedSnapshotsDoNotKeepADirectory() throws {
        let system = MemoryFileSystem()
        let (engine, table) = try EngineRecoveryTests.open(system)
        try EngineRecoveryTests.put(engine, 1)
        try engine.snapshot(table, name: "a")
        let taken = try engine.snapshots()
        #expect(taken.count == 1)
        for snapshot in taken { try engine.clear(snapshot) }
        try engine.dropTable(Sample.table)
        #expect(try system.list("db/data/ks").isEmpty)
    }

    /// Only files of the engine are removed, and nothing of a table that is open or in the schema.
    @Test func onlyLeftoversAreRemoved() throws {
        let system = MemoryFileSystem()
        let (engine, table) = try EngineRecoveryTests.open(system)
        try EngineRecoveryTests.put(engine, 1)
        try engine.flush(table)
        for path in ["ks/named", "ks/gone", "ks/strange", "other/gone"] {
            try system.createDirectory("db/data/" + path)
            for name in ["MANIFEST", "3.sst", "MANIFEST.tmp"] {
                _ = try system.open("db/data/\(path)/\(name)", .create)
            }
        }
        _ = try system.open("db/data/ks/strange/notes.txt", .create)
        engine.removeLeftovers(tables: ["ks/named"], keyspaces: ["ks"])
        #expect(try system.list("db/data") == ["ks"])
        #expect(try system.list("db/data/ks").sorted() == ["named", "strange", "t"])
        #expect(try system.list("db/data/ks/named").count == 3)
        #expect(try system.list("db/data/ks/strange").count == 4)
        #expect(try EngineRecoveryTests.rows(table) == 1)
        #expect(engine.failure?.contains("notes.txt") == true)
    }

    /// If the process dies while it removes leftovers, the next start completes it.
    @Test func interruptedRemovalIsCompleted() throws {
        for at in 0..<12 {
            let faults = EngineCrashTests.Faults()
            let system = MemoryFileSystem { _, _ in faults.reason() }
            let (engine, _) = try EngineRecoveryTests.open(system)
            try system.createDirectory("db/data/other/gone/snapshots")
            for name in ["MANIFEST", "3.sst", "4.sst"] { _ = try system.open("db/data/other/gone/\(name)", .create) }
            faults.set(.dead(from: at))
            engine.removeLeftovers(tables: ["ks/t"], keyspaces: ["ks"])
            faults.set(.none)
            engine.removeLeftovers(tables: ["ks/t"], keyspaces: ["ks"])
            #expect(try system.list("db/data") == ["ks"], "died at \(at)")
        }
    }
}
