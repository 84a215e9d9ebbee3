import DataModel
import LinuxPlatform
import Platform
import Primitives
import Testing

@testable import Storage

/// A read by key skips sstables that cannot change the row: the result must equal the merge of all versions.
@Suite("Sstables skipped by a read") struct RowCoverTests {
    /// Adds a random row. Its own deletion is older than all its cells, as in every row that the server writes.
    static func row(_ clock: Int64, _ random: inout SeededRandom, into out: inout MutationWriter, key: [UInt8]) {
        func one(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        var bytes = ByteWriter()
        bytes.write(key)
        let timestamp = clock - (one(15) ? Int64.random(in: 0..<40, using: &random) : 0)
        out.beginTable(Sample.table)
        out.beginRow(
            key: bytes, timestamp: timestamp, liveness: one(70),
            deletion: one(4) ? DeletionTime(timestamp: timestamp - 20, localDeletion: 9) : .none)
        // Column 2 is a collection; columns from 62 on have no bit in the statistics.
        for column in [0, 1, 2, 61, 62, 70] where one(column == 2 || column > 61 ? 4 : 90) {
            let cellTime = one(80) ? timestamp : timestamp - Int64.random(in: 0..<20, using: &random)
            if column == 2 && one(50) {
                out.complexDeletion(column: column, deletion: DeletionTime(timestamp: cellTime, localDeletion: 9))
            } else if column == 2 {
                let path: [UInt8] = [UInt8.random(in: 0..<3, using: &random)]
                path.withUnsafeBytes { out.cell(column: column, path: $0, timestamp: cellTime, value: $0) }
            } else if one(15) {
                out.tombstone(column: column, deletion: DeletionTime(timestamp: cellTime, localDeletion: 9))
            } else {
                let value = (0..<3).map { _ in UInt8.random(in: 0...255, using: &random) }
                value.withUnsafeBytes { out.cell(column: column, timestamp: cellTime, value: $0) }
            }
        }
        out.endRow()
        out.endTable()
    }

    /// Returns a row's contents in a form that does not depend on its encoding.
    static func parts(_ row: RowView) -> [String] {
        var parts = ["liveness \(row.livenessTimestamp)", "deletion \(row.deletion.timestamp)"]
        var cell = row.cells
        while cell.advance() {
            parts.append(
                "\(cell.column) \(cell.flags.subtracting(.sameTimestamp).rawValue) \(cell.timestamp) \([UInt8](cell.path)) \([UInt8](cell.value))"
            )
        }
        return parts
    }

    @Test(arguments: 0..<8) func skippingSSTablesGivesTheSameRows(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let (engine, table) = try EngineModelTests.open(MemoryFileSystem(), ManualTime(), codec: seed)
        var clock: Int64 = 1_000
        var leftOut = 0
        for _ in 0..<10 {
            for _ in 0..<Int.random(in: 1...24, using: &random) {
                clock += 1
                var out = MutationWriter(capacity: 256)
                let key = Sample.key(Int.random(in: 0..<4, using: &random), Int.random(in: 0..<4, using: &random))
                Self.row(clock, &random, into: &out, key: key)
                try engine.apply(out.out.bytes)
            }
            if Int.random(in: 0..<4, using: &random) > 0 { try engine.flush(table) }
        }
        for partition in 0..<4 {
            for row in 0..<4 {
                let key = Sample.key(partition, row)
                var found: [String]?
                try key.withUnsafeBytes { try table.get($0) { found = Self.parts($0) } }
                // A scan merges all versions there are.
                var expected: [String]?
                try table.scan(KeyRange(start: key, end: key + [0]), reversed: false) { _, row in
                    expected = Self.parts(row)
                    return true
                }
                #expect(found == expected, "seed \(seed), \(partition) \(row)")
                var cover = RowCompleteness()
                let set = SSTableSet(table.tables)
                try key.withUnsafeBytes { key in
                    for (gate, one) in zip(set.gates, set.tables) {
                        if cover.hides(gate) { leftOut += 1 }
                        if let version = try one.find(key) { cover.add(RowView(version.row)) }
                    }
                }
            }
        }
        try engine.close()
        if seed < 4 { #expect(leftOut > 0, "no table was ever left out: the test tests nothing") }
    }

    /// An sstable whose statistics do not say what its rows contain is never skipped.
    @Test func sstableOfVersionTwoIsNeverSkipped() throws {
        var statistics = SSTableStatistics()
        statistics.maxTimestamp = 5
        let bytes = statistics.encode()
        let known = try bytes.withUnsafeBytes { try SSTableStatistics(decoding: $0, version: 3) }
        let unknown = try bytes.withUnsafeBytes {
            try SSTableStatistics(decoding: UnsafeRawBufferPointer(rebasing: $0.dropLast(8)), version: 2)
        }
        #expect(known.parts == [] && unknown.parts == .all)
    }
}
