import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

/// Files with good checksums and impossible contents give errors.
@Suite struct HostileFileTests {
    private static func write(
        _ system: MemoryFileSystem, _ rows: [[UInt8]], _ tombstones: [(start: [UInt8], end: [UInt8])] = [],
        row: [UInt8] = [0]
    ) throws {
        try system.createDirectory("d")
        let writer = try SSTableWriter(
            system: system, path: "d/1.sst", options: SSTableOptions(), createdAt: 1, sources: 0)
        for key in rows {
            try key.withUnsafeBytesTyped { (key) throws(StorageError) in
                try row.withUnsafeBytesTyped { (row) throws(StorageError) in try writer.add(key: key, row: row) }
            }
        }
        for (start, end) in tombstones {
            try writer.addTombstone(
                RangeTombstone(start: start, end: end, deletion: DeletionTime(timestamp: 1, localDeletion: 1)))
        }
        _ = try writer.finish()
    }

    @Test func theWriterRefusesDisorder() throws {
        let partition = Sample.partition(1)
        let (a, b) = (Sample.key(1, 1), Sample.key(1, 2))
        for keys in [[a, a], [b, a], [[], []]] {
            #expect(throws: StorageError.self) { try Self.write(MemoryFileSystem(), keys) }
        }
        for tombstones in [[(partition, partition + [0xff]), (a, b)], [([], KeyRange.all.end), (a, b)]] {
            #expect(throws: StorageError.self) { try Self.write(MemoryFileSystem(), [], tombstones) }
        }
    }

    /// An sstable that another node sends or an operator imports.
    @Test func theVerifierFindsInvalidRowsAndRangeTombstones() throws {
        let partition = Sample.partition(1)
        let (a, b) = (Sample.key(1, 1), Sample.key(1, 2))
        func isGood(
            _ rows: [[UInt8]], _ tombstones: [(start: [UInt8], end: [UInt8])] = [], row: [UInt8] = [0]
        ) throws -> Bool {
            let system = MemoryFileSystem()
            try Self.write(system, rows, tombstones, row: row)
            return try SSTableVerifier(system: system, path: "d/1.sst").verify().isGood
        }
        #expect(try isGood([a, b], [(a, b)]))
        #expect(try isGood([partition + [KeyView.staticKind], a], [(partition, partition + [0xff])]))
        for key in [[], [1], partition, partition + [0x30]] { #expect(try !isGood([key]), "\(key)") }
        for (start, end) in [([], KeyRange.all.end), (a, Sample.key(2, 1)), (b, a), (a, a), (partition.dropLast(), a)] {
            #expect(try !isGood([a], [(start, end)]), "\(start) \(end)")
        }
        for row in [[0x80], [2], [0, 1]] as [[UInt8]] { #expect(try !isGood([a], row: row), "\(row)") }
    }

    @Test func countsOfStatisticsAreLimited() {
        var statistics = SSTableStatistics()
        func decode() throws {
            try statistics.encode().withUnsafeBytesTyped { (raw) throws(ByteError) in
                _ = try SSTableStatistics(decoding: raw, version: SSTableFormat.version)
            }
        }
        #expect(throws: Never.self) { try decode() }
        statistics.cellCount = .max
        #expect(throws: ByteError.self) { try decode() }
        statistics.cellCount = 1
        statistics.droppable = [(3600, .max)]
        #expect(throws: ByteError.self) { try decode() }
        statistics.droppable = [(3600, 1 << 48)]
        statistics.rowCount = 1 << 48
        statistics.rangeTombstoneCount = 1 << 48
        #expect(throws: Never.self) { try decode() }
        #expect(statistics.droppableRatio(gcBefore: .max) < 1)
    }

    /// Numbers in names and manifests which greater ones must be able to follow.
    @Test func greatestNumbers() throws {
        #expect(CommitLog.number("ffffffffffffffff.log") == nil)
        #expect(CommitLog.number("00000000000000ff.log") == 255)
        let target = UUID(high: 1, low: 2)
        #expect(HintFileName("\(target)-18446744073709551615.hints") == nil)
        #expect(HintFileName("\(target)-18446744073709551615.pos") == nil)
        #expect(HintFileName("\(target)-7.hints") == .segment(target, 7))
        var manifest = Manifest()
        manifest.flushed = LogPosition(segment: .max, offset: 0)
        #expect(throws: StorageError.self) { try Manifest(decoding: manifest.encode(), path: "m") }
        manifest.flushed = .start
        for table in [UInt32.max, UInt32.max - 1] {
            manifest.tables = [table]
            #expect(throws: StorageError.self) { try Manifest(decoding: manifest.encode(), path: "m") }
        }
        // A file that nobody writes does not keep the log from opening.
        let system = MemoryFileSystem()
        try system.createDirectory("db/commitlog")
        try system.open("db/commitlog/ffffffffffffffff.log", .create).close()
        let (engine, _) = try EngineRecoveryTests.open(system)
        try EngineRecoveryTests.put(engine, 1)
        try engine.close()
    }

    /// A chunk with a good checksum whose records do not parse.
    @Test func aChunkThatDoesNotParseIsSetAside() throws {
        let system = MemoryFileSystem()
        try system.createDirectory("log")
        let options = CommitLogTests.options()
        let log = try CommitLog(system: system, directory: "log", options: options, existing: [])
        for record in [[1, 2, 3], [4, 5, 6, 7, 8]] as [[UInt8]] {
            try record.withUnsafeBytesTyped { (raw) throws(StorageError) in _ = try log.append(raw) }
        }
        try log.flush()
        // The length of the second record becomes greater than the chunk, and both checksums are made right again.
        var bytes = try system.readAll("log/0000000000000001.log")
        let start = CommitLogFormat.headerBytes
        let payload = start + CommitLogFormat.chunkHeaderBytes
        bytes[payload + 7] = 200
        func put(_ value: UInt64, at place: Int) {
            for index in 0..<8 { bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(index * 8)) }
        }
        put(Checksum.xxh3(Array(bytes[payload..<payload + 16])), at: start + 24)
        let position = LogPosition(segment: 1, offset: start)
        let header = Array(bytes[start..<start + 32])
        put(
            header.withUnsafeBytes { Checksum.xxh3($0, seed: CommitLogFormat.headerSeed(position)) }, at: start + 32)
        let file = try system.open("log/0000000000000001.log", .create)
        try bytes.withUnsafeBytes { raw in Result { try file.write(raw, at: 0) } }.get()
        var records: [[UInt8]] = []
        let report = try CommitLogReplay(system: system, directory: "log", options: options).run {
            (_, record) throws(StorageError) in
            records.append([UInt8](record))
        }
        #expect(records == [[1, 2, 3]])
        #expect(report.rejected.map(\.position) == [LogPosition(segment: 1, offset: payload + 7)])
        #expect(try system.readAll("log/rejected/0000000000000001-87.record") == [200, 0, 0, 0, 4, 5, 6, 7, 8])
    }
}
