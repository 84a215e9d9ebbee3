import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct CommitLogTests {
    static func options(boot: UInt64 = 1, skip: Bool = false) -> CommitLogOptions {
        var options = CommitLogOptions()
        options.segmentBytes = 4096
        options.boot = boot
        options.skipDamage = skip
        return options
    }

    /// Appends `count` records of 100 bytes and flushes after each; with `syncs`, syncs after every fifth.
    static func fill(_ system: MemoryFileSystem, count: Int, syncs: Bool = true) throws {
        try system.createDirectory("log")
        let log = try CommitLog(system: system, directory: "log", options: options(), existing: [])
        for index in 0..<count {
            let record = [UInt8](repeating: UInt8(index % 256), count: 100)
            try record.withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
            try log.flush()
            if syncs && index % 5 == 4 { try log.sync() }
        }
    }

    static func replay(_ system: MemoryFileSystem, _ options: CommitLogOptions) throws -> (
        records: [UInt8], report: ReplayReport
    ) {
        var records: [UInt8] = []
        let report = try CommitLogReplay(system: system, directory: "log", options: options).run {
            (_, bytes) throws(StorageError) in
            records.append(bytes[0])
        }
        return (records, report)
    }

    static func flip(_ system: MemoryFileSystem, _ name: String, _ offset: Int) throws {
        var bytes = try system.readAll("log/" + name)
        bytes[offset] ^= 1
        let file = try system.open("log/" + name, .create)
        try bytes.withUnsafeBytes { raw in Result { try file.write(raw, at: 0) } }.get()
        try file.sync()
    }

    @Test func recordsAreReplayedInOrderOverSegments() throws {
        let system = MemoryFileSystem()
        try Self.fill(system, count: 200)
        let (records, report) = try Self.replay(system, Self.options())
        #expect(records == (0..<200).map { UInt8($0) })
        #expect(report.segments.count > 5)
        #expect(report.tornAt == nil)
    }

    @Test func damageBeforeTheTailStopsTheStartUnlessSkipped() throws {
        for offset in stride(from: 44, to: 2000, by: 97) {
            let system = MemoryFileSystem()
            try Self.fill(system, count: 60)
            try Self.flip(system, CommitLog.name(1), offset)
            #expect(throws: StorageError.self, "flip at \(offset)") { try Self.replay(system, Self.options()) }
            let (records, report) = try Self.replay(system, Self.options(skip: true))
            #expect(records.count == 59, "flip at \(offset)")
            #expect(report.skipped.count == 1)
        }
    }

    @Test func tornTailEndsTheReplay() throws {
        let system = MemoryFileSystem()
        try Self.fill(system, count: 20)
        let name = CommitLog.name(1)
        // Damage the last record, which nothing follows.
        let (_, report) = try Self.replay(system, Self.options())
        let end = try #require(report.end)
        try Self.flip(system, name, end.offset - 30)
        let (records, torn) = try Self.replay(system, Self.options())
        #expect(records == (0..<19).map { UInt8($0) })
        #expect(torn.tornAt != nil)
    }

    @Test func unsyncedHoleIsATornTailAfterPowerLoss() throws {
        let system = MemoryFileSystem()
        try Self.fill(system, count: 20, syncs: false)
        try Self.flip(system, CommitLog.name(1), 600)
        #expect(throws: StorageError.self) { try Self.replay(system, Self.options(boot: 1)) }
        let (records, report) = try Self.replay(system, Self.options(boot: 2))
        #expect(records.count < 19)
        #expect(report.tornAt != nil)
        // Bytes that had been synced count as damaged even after a power loss.
        let synced = MemoryFileSystem()
        try Self.fill(synced, count: 20, syncs: true)
        try Self.flip(synced, CommitLog.name(1), 600)
        #expect(throws: StorageError.self) { try Self.replay(synced, Self.options(boot: 2)) }
    }

    @Test func sealedLogIsReplayedAtTheNextStart() throws {
        let system = MemoryFileSystem()
        try Self.fill(system, count: 20)
        for round in 0..<3 {
            let (records, report) = try Self.replay(system, Self.options())
            #expect(records.count == 20 + round)
            let replay = CommitLogReplay(system: system, directory: "log", options: Self.options())
            try replay.seal(report)
            let log = try CommitLog(
                system: system, directory: "log", options: Self.options(), existing: report.segments)
            try [UInt8(200 + round)].withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
            try log.flush()
        }
    }

    @Test func fullDiskIsAnErrorAndLosesNothing() throws {
        let full = Flag()
        let system = MemoryFileSystem { operation, path in
            full.isSet && (operation == "write" || operation == "open") && path.hasSuffix(".log") ? .noSpace : nil
        }
        try system.createDirectory("log")
        let log = try CommitLog(system: system, directory: "log", options: Self.options(), existing: [])
        func append(_ value: UInt8) throws {
            try [value].withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
            try log.flush()
        }
        try append(1)
        full.set(true)
        #expect(throws: StorageError.self) { try append(2) }
        #expect(throws: StorageError.self) { try append(3) }
        #expect(log.failure?.contains("no space left") == true)
        full.set(false)
        try append(4)
        #expect(log.failure == nil)
        let (records, _) = try Self.replay(system, Self.options())
        #expect(records.first == 1 && records.last == 4)
    }

    /// Records appended while a write fails are written by the next flush that succeeds.
    @Test func flushAfterAFailureWritesLaterAppendsToo() throws {
        let full = Flag()
        let meanwhile = Meanwhile()
        let system = MemoryFileSystem { operation, path in
            guard full.isSet, operation == "write", path.hasSuffix(".log") else { return nil }
            meanwhile.run()
            return .noSpace
        }
        try system.createDirectory("log")
        let log = try CommitLog(system: system, directory: "log", options: Self.options(), existing: [])
        @Sendable func append(_ value: UInt8) throws {
            try [value].withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
        }
        meanwhile.set { do { try append(2) } catch { Issue.record("\(error)") } }
        try append(1)
        full.set(true)
        #expect(throws: StorageError.self) { try log.flush() }
        full.set(false)
        try log.flush()
        #expect(try Self.replay(system, Self.options()).records == [1, 2])
    }

    /// After a failed sync the log refuses writes: a second sync would not report what the first one lost.
    @Test func failedSyncStopsTheLog() throws {
        let failing = Flag()
        let system = MemoryFileSystem { operation, path in
            failing.isSet && operation == "sync" && path.hasSuffix(".log") ? .failed(errno: 5) : nil
        }
        try system.createDirectory("log")
        let log = try CommitLog(system: system, directory: "log", options: Self.options(), existing: [])
        func append(_ value: UInt8) throws {
            try [value].withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
        }
        try append(1)
        failing.set(true)
        #expect(throws: StorageError.self) { try log.sync() }
        failing.set(false)
        #expect(log.failure != nil)
        #expect(throws: StorageError.self) { try log.sync() }
        #expect(throws: StorageError.self) { try log.checkWritable() }
        #expect(throws: StorageError.self) { try append(2) }
        #expect(try Self.replay(system, Self.options()).records == [1])
    }

    /// A recycled segment whose new header was not synced before a power loss ends the log, as a torn chunk does.
    @Test func unsyncedHeaderIsATornTailAfterPowerLoss() throws {
        for segment: UInt64 in [1, 2] {
            let system = MemoryFileSystem()
            try Self.fill(system, count: 100, syncs: false)
            let file = try system.open("log/" + CommitLog.name(segment), .readWrite)
            try CommitLogFormat.header(segment: 77, boot: 0).withUnsafeBytes { raw in
                Result { try file.write(raw, at: 0) }
            }.get()
            #expect(throws: StorageError.self) { try Self.replay(system, Self.options(boot: 1)) }
            let (records, report) = try Self.replay(system, Self.options(boot: 2))
            #expect(records.count == (segment == 1 ? 0 : records.count) && records.count < 40)
            #expect(report.tornAt == LogPosition(segment: segment, offset: 0))
            try CommitLogReplay(system: system, directory: "log", options: Self.options(boot: 2)).seal(report)
            #expect(try Self.replay(system, Self.options(boot: 2)).records == records)
            #expect(try Self.replay(system, Self.options(boot: 2)).report.tornAt == nil)
        }
        let synced = MemoryFileSystem()
        try Self.fill(synced, count: 100)
        let file = try synced.open("log/" + CommitLog.name(1), .readWrite)
        try CommitLogFormat.header(segment: 77, boot: 0).withUnsafeBytes { raw in Result { try file.write(raw, at: 0) }
        }.get()
        #expect(throws: StorageError.self) { try Self.replay(synced, Self.options(boot: 2)) }
    }

    @Test func randomCrashesLoseNothingSynced() throws {
        for seed in 0..<40 {
            var random = SeededRandom(seed: UInt64(seed))
            let system = MemoryFileSystem()
            try system.createDirectory("log")
            let log = try CommitLog(system: system, directory: "log", options: Self.options(), existing: [])
            var synced = 0
            for index in 0..<120 {
                let record = [UInt8](repeating: UInt8(index), count: Int.random(in: 1...200, using: &random))
                try record.withUnsafeBytes { raw in Result { _ = try log.append(raw) } }.get()
                if Bool.random(using: &random) { try log.flush() }
                if Int.random(in: 0..<10, using: &random) == 0 {
                    try log.sync()
                    synced = index + 1
                }
            }
            system.crash(random: &random)
            let (records, _) = try Self.replay(system, Self.options(boot: 2))
            #expect(records.count >= synced, "seed \(seed): \(records.count) of \(synced) synced records")
            #expect(records == (0..<records.count).map { UInt8($0) }, "seed \(seed)")
        }
    }
}

/// Work that a fault closure of the file system runs in the middle of an operation.
final class Meanwhile: Sendable {
    private let state = Mutex<(@Sendable () -> Void)?>(nil)
    func set(_ work: (@Sendable () -> Void)?) { state.withLock { $0 = work } }
    /// Runs the work at the first call only.
    func run() { state.withLock { $0.take() }?() }
    /// Runs the work at every call.
    func runAgain() {
        let work = state.withLock { $0 }
        work?()
    }
}

/// A switch shared by a test and a fault closure.
final class Flag: Sendable {
    private let state = Mutex(false)
    var isSet: Bool { state.withLock { $0 } }
    func set(_ value: Bool) { state.withLock { $0 = value } }
}

import Synchronization
