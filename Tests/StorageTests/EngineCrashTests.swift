import DataModel
import Platform
import Primitives
import Synchronization
import Testing

@testable import Storage

/// A scripted history in which each file system operation in turn fails once, or is the last before the machine loses
/// power.
@Suite struct EngineCrashTests {
    /// Counts file system operations and makes some fail.
    final class Faults: Sendable {
        enum Mode { case none, once(at: Int), dead(from: Int) }
        private let state = Mutex<(count: Int, mode: Mode)>((0, .none))

        var count: Int { state.withLock { $0.count } }
        func set(_ mode: Mode) { state.withLock { $0 = (0, mode) } }

        func reason() -> FileError.Reason? {
            state.withLock { state in
                defer { state.count += 1 }
                switch state.mode {
                case .none: return nil
                case .once(let at): return state.count == at ? .failed(errno: 5) : nil
                case .dead(let from): return state.count >= from ? .failed(errno: 5) : nil
                }
            }
        }
    }

    /// What is known about the rows of a history.
    struct Outcome {
        /// Rows whose write was acknowledged after a sync: they must be there.
        var kept: Set<Int> = []
        /// Rows whose write failed: they may be there or not.
        var unsure: Set<Int> = []
    }

    static func options() -> StorageOptions {
        var options = EngineModelTests.options()
        options.shards = 2
        options.log.segmentBytes = 4 << 10
        options.log.recycledSegments = 2
        return options
    }

    static func open(_ system: MemoryFileSystem, boot: UInt64) throws -> (StorageEngine, TableStore) {
        var options = options()
        options.log.boot = boot
        let engine = try StorageEngine(
            system: system, time: ManualTime(), background: InlineBackground(), directory: "db", options: options)
        let table = try engine.openTable(Sample.table, name: "ks/t", options: EngineModelTests.tableOptions(1))
        try engine.start()
        return (engine, table)
    }

    /// Writes, flushes, compacts and takes a snapshot; records failures and continues.
    /// - Parameter before: what is known from an earlier history.
    static func run(_ engine: StorageEngine, _ table: TableStore, from first: Int, before: Outcome = Outcome())
        -> Outcome
    {
        var outcome = before
        func put(_ row: Int) {
            var writer = MutationWriter()
            Sample.put(Sample.key(row % 5, row), 1, [UInt8](repeating: UInt8(row & 0xff), count: 150), into: &writer)
            do {
                try engine.apply(writer.out.bytes)
                try engine.syncLog()
                outcome.kept.insert(row)
            } catch { outcome.unsure.insert(row) }
        }
        func attempt(_ step: () throws -> Void) { do { try step() } catch {} }
        func rows(_ range: Range<Int>) { for row in range { put(first + row) } }
        rows(0..<8)
        attempt { try engine.flush(table) }
        rows(8..<12)
        rows(12..<24)
        attempt { try engine.flush(table) }
        rows(24..<36)
        attempt { try engine.flush(table) }
        attempt { try engine.compactAll(table) }
        attempt { try engine.snapshot(table, name: "s\(first)") }
        rows(36..<44)
        return outcome
    }

    static func present(_ table: TableStore) throws -> Set<Int> {
        Set(
            try EngineModelTests.read(table, .all, reversed: false).map { found in
                Int(UInt32(found.key.suffix(4).reduce(0) { $0 << 8 | UInt32($1) }) ^ 1 << 31)
            })
    }

    static func check(_ table: TableStore, _ outcome: Outcome, _ what: String) throws {
        let found = try present(table)
        let lost = outcome.kept.subtracting(found)
        #expect(lost.isEmpty, "\(what): acknowledged rows \(lost.sorted()) are lost")
    }

    /// Returns the number of file system operations in a history without faults.
    static func length() throws -> Int {
        let faults = Faults()
        let system = MemoryFileSystem { _, _ in faults.reason() }
        let (engine, table) = try open(system, boot: 1)
        faults.set(.none)
        let outcome = run(engine, table, from: 0)
        #expect(outcome.kept.count == 44)
        try check(table, outcome, "no fault")
        return faults.count
    }

    /// One operation fails. The engine continues, and so does a second engine on its files.
    @Test func everyOperationFailsOnce() throws {
        for at in stride(from: 0, to: try Self.length(), by: 1) {
            let faults = Faults()
            let system = MemoryFileSystem { _, _ in faults.reason() }
            var (engine, table) = try Self.open(system, boot: 1)
            faults.set(.once(at: at))
            let outcome = Self.run(engine, table, from: 0)
            faults.set(.none)
            try Self.check(table, outcome, "operation \(at) failed, before the restart")
            if at % 2 == 0 { do { try engine.close() } catch {} }
            (engine, table) = try Self.open(system, boot: 1)
            try Self.check(table, outcome, "operation \(at) failed, after a restart")
            try engine.compactAll(table)
            try Self.check(table, outcome, "operation \(at) failed, compacted")
        }
    }

    /// The machine loses power at an operation: unsynced data is lost or torn. Then a second run loses power as well.
    @Test func crashAtEveryOperation() throws {
        for at in stride(from: 0, to: try Self.length(), by: 1) {
            var random = SeededRandom(seed: UInt64(at))
            let faults = Faults()
            let system = MemoryFileSystem { _, _ in faults.reason() }
            var (engine, table) = try Self.open(system, boot: 1)
            faults.set(.dead(from: at))
            let first = Self.run(engine, table, from: 0)
            system.crash(random: &random)
            faults.set(.none)
            (engine, table) = try Self.open(system, boot: 2)
            try Self.check(table, first, "died at \(at)")
            faults.set(.dead(from: Int.random(in: 0..<200, using: &random)))
            let second = Self.run(engine, table, from: 100, before: first)
            system.crash(random: &random)
            faults.set(.none)
            (engine, table) = try Self.open(system, boot: 3)
            try Self.check(table, second, "died at \(at), and again")
        }
    }
}
