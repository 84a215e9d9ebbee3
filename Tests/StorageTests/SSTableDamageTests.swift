import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct SSTableDamageTests {
    /// Writes a small sstable with rows, range tombstones and several blocks.
    static func make(_ system: MemoryFileSystem, codec: Int) throws -> [UInt8] {
        var options = SSTableOptions()
        options.blockBytes = 256
        options.codec = [.none, .lz4, .snappy, .zstd(level: 1)][codec]
        try system.createDirectory("d")
        let writer = try SSTableWriter(system: system, path: "d/1.sst", options: options, createdAt: 1, sources: 0)
        let partitions = (0..<6).map { Sample.partition($0) }.sorted { compareBytes($0, $1) < 0 }
        for partition in partitions {
            for row in 0..<8 {
                var key = ByteWriter()
                key.write(partition)
                KeyEncoding.beginRow(into: &key)
                try withUnsafeBytes(of: UInt32(row).bigEndian) { bytes in
                    Result { try KeyEncoding.addClusteringComponent(bytes, type: .int, descending: false, into: &key) }
                }.get()
                var out = ByteWriter()
                var writerOfRow = RowWriter()
                writerOfRow.begin(timestamp: 5, liveness: true, into: &out)
                [UInt8](repeating: 7, count: 20).withUnsafeBytes {
                    writerOfRow.cell(column: 0, timestamp: 5, value: $0, into: &out)
                }
                writerOfRow.end(into: &out)
                try writer.add(key: key.bytes, row: out.bytes)
            }
        }
        try writer.addTombstone(
            RangeTombstone(
                start: partitions[2], end: partitions[2] + [0xff],
                deletion: DeletionTime(timestamp: 3, localDeletion: 9)))
        _ = try writer.finish()
        return try system.readAll("d/1.sst")
    }

    static func write(_ bytes: [UInt8], _ system: MemoryFileSystem) throws {
        let file = try system.open("d/1.sst", .create)
        try bytes.withUnsafeBytes { raw in Result { try file.write(raw, at: 0) } }.get()
    }

    @Test(arguments: 0..<4) func everyFlippedBitIsDetected(codec: Int) throws {
        let system = MemoryFileSystem()
        let good = try Self.make(system, codec: codec)
        #expect(try SSTableVerifier(system: system, path: "d/1.sst").verify().isGood)
        for offset in good.indices {
            var bad = good
            bad[offset] ^= UInt8(1 << (offset % 8))
            try Self.write(bad, system)
            let report = try SSTableVerifier(system: system, path: "d/1.sst").verify()
            #expect(!report.isGood, "a flip at byte \(offset) of \(good.count) was not found")
            #expect(report.problems.allSatisfy { !$0.place.isEmpty })
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let system = MemoryFileSystem()
        let good = try Self.make(system, codec: 1)
        for length in 0..<good.count {
            try Self.write(Array(good[..<length]), system)
            #expect(throws: StorageError.self, "cut to \(length) bytes") {
                try SSTable(system: system, path: "d/1.sst", id: 1, cache: nil)
            }
        }
    }

    /// Reading a damaged sstable gives an error or the right rows, never wrong ones.
    @Test func damagedFileNeverGivesWrongRows() throws {
        let system = MemoryFileSystem()
        let good = try Self.make(system, codec: 1)
        func rows() throws -> [[UInt8]] {
            var seen: [[UInt8]] = []
            let table = try SSTable(system: system, path: "d/1.sst", id: 1, cache: nil)
            let cursor = SSTableCursor(table, range: .all, direction: .forward, isBulk: true)
            var more = try cursor.start()
            while more {
                seen.append([UInt8](cursor.key) + [UInt8](cursor.value))
                more = try cursor.advance()
            }
            return seen
        }
        let expected = try rows()
        #expect(expected.count == 48)
        for offset in good.indices {
            var bad = good
            bad[offset] ^= 0x40
            try Self.write(bad, system)
            do {
                let found = try rows()
                #expect(found == expected, "a flip at byte \(offset) gave a wrong answer")
            } catch is StorageError {}
        }
    }
}
