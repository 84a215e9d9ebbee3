import DataModel
import Glibc
import LinuxPlatform
import Platform
import Primitives
import Synchronization
import Testing

@testable import Storage

/// One position of the commit log divides what a truncation removes from what it leaves, in memory and after a restart alike.
@Suite struct EngineTruncateTests {
    /// Numbers, each once.
    private final class Counter: Sendable {
        private let state = Mutex(0)
        func take() -> Int {
            state.withLock { value in
                value += 1
                return value - 1
            }
        }
    }

    /// Writes two rows between any two steps of a truncation, which dies at step `at`.
    /// - Returns: whether it lived.
    private static func truncate(dyingAt at: Int) throws -> Bool {
        let before = Set(0..<6)
        let after = Set(1000..<1004)
        let writes = Meanwhile()
        let faults = EngineCrashTests.Faults()
        let system = MemoryFileSystem { _, path in
            if path.contains("/commitlog") { return nil }
            writes.runAgain()
            return faults.reason()
        }
        let (engine, table) = try EngineRecoveryTests.open(system)
        for row in before {
            try EngineRecoveryTests.put(engine, row)
            if row == 3 { try engine.flush(table) }
        }
        try engine.flushLog()
        let next = Counter()
        writes.set {
            do {
                try EngineRecoveryTests.put(engine, 10 + next.take())
                try engine.flushLog()
            } catch { Issue.record("\(error)") }
        }
        faults.set(.dead(from: at))
        var isTruncated = true
        do { try engine.truncateTable(Sample.table) } catch { isTruncated = false }
        let isOver = faults.count <= at
        faults.set(.none)
        writes.set(nil)
        for row in after { try EngineRecoveryTests.put(engine, row) }
        try engine.flushLog()
        let live = try EngineCrashTests.present(table)
        if at % 2 == 0 {
            try engine.syncLog()
            var random = SeededRandom(seed: UInt64(at))
            system.crash(random: &random)
        }
        let found = try EngineCrashTests.present(try EngineRecoveryTests.open(system).1)
        if isTruncated { #expect(found.isDisjoint(with: before), "died at \(at): truncated rows are back") }
        #expect(found.isSuperset(of: after), "died at \(at): rows written later are lost")
        // A truncation that dies may have come as far as the manifest, which memory then does not know of.
        let isUnsure = !isTruncated && found.isDisjoint(with: before)
        if !isUnsure { #expect(found == live, "died at \(at): \(found.sorted()) after the restart, \(live.sorted()) before") }
        return isOver
    }

    /// A write between any two steps of a truncation is there afterwards exactly if it is there after a restart; the truncation may die at each.
    @Test func aWriteDuringATruncationIsThereOrNotForGood() throws {
        var at = 0
        while try !Self.truncate(dyingAt: at) { at += 1 }
        #expect(at > 4)
    }

    /// Writers and truncations in threads of their own: when all are done, a killed process finds in the log what was in memory.
    @Test func whatIsThereAfterATruncationIsThereAfterARestart() throws {
        let directory = "/tmp/auspex-truncate-\(getpid())"
        let system = PosixFileSystem()
        defer { EngineStressTests.remove(system, directory) }
        for round in 0..<4 {
            let pools = ThreadPools(flush: 1, compaction: 1)
            let (engine, table, _) = try EngineStressTests.open(directory, pools)
            let crew = EngineStressTests.Crew(seconds: 0.6)
            for writer in 0..<3 {
                crew.run {
                    var row = 0
                    while !crew.isOver {
                        var mutation = MutationWriter()
                        Sample.put(
                            Sample.key(writer * 1000 + row % 7, row), Int64(round), [UInt8](repeating: 1, count: 20), into: &mutation)
                        try engine.apply(mutation.out.bytes, mayBlock: true)
                        if row % 4 == 0 { try engine.flushLog() }
                        row += 1
                    }
                }
            }
            crew.run {
                while !crew.isOver {
                    try engine.truncateTable(Sample.table)
                    if round % 2 == 1 { try engine.flush(table) }
                    usleep(500)
                }
            }
            #expect(crew.wait() == [])
            try engine.flushLog()
            let live = try EngineModelTests.read(table, .all, reversed: false).map(\.key)
            try engine.closeQuickly()
            pools.stop()
            let more = ThreadPools(flush: 1, compaction: 1)
            let (again, reopened, _) = try EngineStressTests.open(directory, more)
            let found = try EngineModelTests.read(reopened, .all, reversed: false).map(\.key)
            let back = Set(found).subtracting(live).count
            let lost = Set(live).subtracting(found).count
            #expect(back == 0 && lost == 0, "round \(round): of \(live.count) rows \(lost) are lost, and \(back) came back")
            try again.close()
            more.stop()
        }
    }
}
