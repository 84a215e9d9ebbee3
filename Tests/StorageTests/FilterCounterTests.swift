import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

@Suite struct FilterCounterTests {
    /// Writes an sstable with rows of the even partitions below 400, and with a range tombstone in every partition
    /// whose number leaves 1 when divided by 8.
    private static func make(blockBytes: Int) throws -> (table: SSTable, rows: [Int: Set<Int>], tombstones: Set<Int>) {
        let system = MemoryFileSystem()
        try system.createDirectory("d")
        var options = SSTableOptions()
        options.blockBytes = blockBytes
        options.codec = .none
        var random = SeededRandom(seed: UInt64(blockBytes))
        let writer = try SSTableWriter(system: system, path: "d/1.sst", options: options, createdAt: 1, sources: 0)
        var rows: [Int: Set<Int>] = [:]
        var tombstones: Set<Int> = []
        for number in (0..<400).sorted(by: { compareBytes(Sample.partition($0), Sample.partition($1)) < 0 }) {
            if number % 8 == 1 {
                let start = Sample.partition(number)
                let deletion = DeletionTime(timestamp: 3, localDeletion: 9)
                try writer.addTombstone(RangeTombstone(start: start, end: start + [0xff], deletion: deletion))
                tombstones.insert(number)
            }
            guard number % 2 == 0 else { continue }
            let its = Set(
                (0..<Int.random(in: 1...30, using: &random)).map { _ in Int.random(in: 0..<60, using: &random) })
            for row in its.sorted() {
                var out = ByteWriter()
                var writerOfRow = RowWriter()
                writerOfRow.begin(timestamp: 5, liveness: true, into: &out)
                [UInt8](repeating: 7, count: 5).withUnsafeBytes {
                    writerOfRow.cell(column: 0, timestamp: 5, value: $0, into: &out)
                }
                writerOfRow.end(into: &out)
                try Sample.key(number, row).withUnsafeBytesTyped { (key) throws(StorageError) in
                    try writer.add(key: key, row: out.bytes)
                }
            }
            rows[number] = its
        }
        _ = try writer.finish()
        return (try SSTable(system: system, path: "d/1.sst", id: 1, cache: nil), rows, tombstones)
    }

    /// A lookup counts as a false positive of the filter exactly if the sstable has nothing of the key's partition.
    @Test(arguments: [32, 100, 300, 4096]) func onlyAbsentPartitionsCountAsFalsePositives(blockBytes: Int) throws {
        let (table, rows, tombstones) = try Self.make(blockBytes: blockBytes)
        var expected = 0
        for number in 0..<420 {
            for row in [0, 1, 7, 30, 58, 59] {
                let found = try Sample.key(number, row).withUnsafeBytesTyped { (key) throws(StorageError) in
                    try table.find(key) != nil
                }
                #expect(found == (rows[number]?.contains(row) ?? false), "partition \(number) row \(row)")
                if rows[number] == nil && !tombstones.contains(number) { expected += 1 }
                #expect(table.falsePositives == expected, "partition \(number) row \(row)")
            }
        }
        #expect(expected == (420 - 200 - 50) * 6)
    }
}
