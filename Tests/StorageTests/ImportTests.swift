import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

/// Sstables written without a node, and their import into a table.
@Suite struct ImportTests {
    /// Writes three sstables of 20 rows each into `made`.
    static func make(_ system: MemoryFileSystem) throws {
        let writer = try OfflineTableWriter(
            system: system, time: ManualTime(), directory: "made", id: Sample.table,
            options: EngineModelTests.tableOptions(1))
        for file in 0..<3 {
            // In descending order: the writer sorts them.
            for row in (file * 20..<file * 20 + 20).reversed() {
                var mutation = MutationWriter()
                Sample.put(Sample.key(row % 7, row), 5, [UInt8](repeating: UInt8(row), count: 100), into: &mutation)
                try writer.apply(mutation.out.bytes)
            }
            #expect(writer.memoryBytes > 0)
            try writer.flush()
        }
        #expect(writer.written.files == 3)
        #expect(writer.written.rows == 60)
    }

    static func strays(_ system: MemoryFileSystem, _ table: TableStore) throws -> [String] {
        let named = Set(table.tables.map { Manifest.sstableFileName($0.id) })
        return try system.list(table.directory).filter { $0.hasSuffix(".sst") && !named.contains($0) }
    }

    @Test func importTakesTheFiles() throws {
        let system = MemoryFileSystem()
        try Self.make(system)
        let (engine, table) = try EngineCrashTests.open(system, boot: 1)
        let report = try engine.importTables(into: table, from: "made", renumbered: [:]) { _, _ in nil }
        #expect(report.files == 3 && report.rows == 60 && report.rewritten == 0)
        #expect(try EngineCrashTests.present(table) == Set(0..<60))
        #expect(try system.list("made").count { $0.hasSuffix(".sst") } == 3)
        // A second import adds the same rows again.
        _ = try engine.importTables(into: table, from: "made", renumbered: [:]) { _, _ in nil }
        #expect(table.tables.count == 6)
        try engine.compactAll(table)
        #expect(try EngineCrashTests.present(table) == Set(0..<60))
        try engine.close()
        let (_, again) = try EngineCrashTests.open(system, boot: 2)
        #expect(try EngineCrashTests.present(again) == Set(0..<60))
    }

    @Test func importRenumbersColumns() throws {
        let system = MemoryFileSystem()
        try Self.make(system)
        let (engine, table) = try EngineCrashTests.open(system, boot: 1)
        let report = try engine.importTables(into: table, from: "made", renumbered: [0: 7]) { _, row in
            var cells = row.cells
            return cells.advance() && cells.column == 7 && cells.timestamp == 5 ? nil : "not the column"
        }
        #expect(report.rows == 60 && report.rewritten == 3)
        #expect(try EngineCrashTests.present(table) == Set(0..<60))
    }

    @Test func invalidImportIsRefusedAndLeavesNoFiles() throws {
        let system = MemoryFileSystem()
        try Self.make(system)
        let (engine, table) = try EngineCrashTests.open(system, boot: 1)
        func refusal(_ directory: String, _ complaint: (UnsafeRawBufferPointer, RowView) -> String? = { _, _ in nil })
            -> String?
        {
            do throws(ImportError) {
                _ = try engine.importTables(into: table, from: directory, renumbered: [:], complaint: complaint)
                return nil
            } catch {
                guard case .refused(let why) = error else { return nil }
                return why
            }
        }
        #expect(try #require(refusal("nowhere")).contains("MANIFEST"))
        #expect(try #require(refusal(table.directory)).contains("own directory"))
        var seen = 0
        let why = refusal("made") { _, _ in
            seen += 1
            return seen > 50 ? "a strange row" : nil
        }
        #expect(try #require(why).contains("a strange row"))
        #expect(try Self.strays(system, table) == [])
        let file = try system.open("made/2.sst", .readWrite)
        try [UInt8(0xFF)].withUnsafeBytesTyped { (bytes) throws(FileError) in try file.write(bytes, at: 60) }
        #expect(try #require(refusal("made")).contains("made/2.sst is damaged"))
        try system.remove("made/2.sst")
        #expect(try #require(refusal("made")).contains("made/2.sst"))
        #expect(table.tables.isEmpty)
        #expect(try Self.strays(system, table) == [])
    }

    /// An import takes all files or none, whichever operation fails and whenever the machine loses power.
    @Test(arguments: [[:], [0: 7]]) func importIsAllOrNothing(renumbered: [Int: Int]) throws {
        let faults = EngineCrashTests.Faults()
        func fresh() throws -> (MemoryFileSystem, StorageEngine, TableStore) {
            faults.set(.none)
            let system = MemoryFileSystem { _, _ in faults.reason() }
            try Self.make(system)
            let (engine, table) = try EngineCrashTests.open(system, boot: 1)
            return (system, engine, table)
        }
        func attempt(_ engine: StorageEngine, _ table: TableStore) -> Bool {
            do {
                _ = try engine.importTables(into: table, from: "made", renumbered: renumbered) { _, _ in nil }
                return true
            } catch { return false }
        }
        let (_, engine, table) = try fresh()
        faults.set(.none)
        #expect(attempt(engine, table))
        let length = faults.count
        #expect(length > 20)
        let all = Set(0..<60)
        for at in 0..<length {
            for dies in [false, true] {
                let (system, engine, table) = try fresh()
                faults.set(dies ? .dead(from: at) : .once(at: at))
                let isDone = attempt(engine, table)
                faults.set(.none)
                if !dies {
                    #expect(try EngineCrashTests.present(table) == (isDone ? all : []), "operation \(at) failed")
                }
                var random = SeededRandom(seed: UInt64(at))
                system.crash(random: &random)
                let (_, again) = try EngineCrashTests.open(system, boot: 2)
                let found = try EngineCrashTests.present(again)
                #expect(found == all || (!isDone && found.isEmpty), "operation \(at), \(dies): \(found.count) rows")
                #expect(try Self.strays(system, again) == [])
            }
        }
    }
}
