import DataModel
import Platform
import Primitives
import Testing

@testable import Storage

/// Range tombstones of an sstable that need more than one block.
@Suite struct TombstoneBlockTests {
    static func write(_ system: MemoryFileSystem, _ tombstones: [RangeTombstone], name: String = "1") throws -> SSTable
    {
        try system.createDirectory("d")
        let writer = try SSTableWriter(
            system: system, path: "d/\(name).sst", options: SSTableOptions(), createdAt: 1, sources: 0)
        for one in tombstones { try writer.addTombstone(one) }
        _ = try writer.finish()
        return try SSTable(
            system: system, path: "d/\(name).sst", id: UInt32(name) ?? 0, cache: BlockCache(limitBytes: 1 << 20))
    }

    /// Returns range tombstones over slices of rows, from row 10 n up to 10 n + 1...10, some of them adjacent.
    static func slices(partitions: Int, rows: Int, random: inout SeededRandom) -> [RangeTombstone] {
        var all: [RangeTombstone] = []
        for partition in (0..<partitions).sorted(by: { compareBytes(Sample.partition($0), Sample.partition($1)) < 0 }) {
            for row in 0..<rows where Int.random(in: 0..<5, using: &random) > 0 {
                let end = 10 + row * 10 + Int.random(in: 1...10, using: &random)
                all.append(
                    RangeTombstone(
                        start: Sample.key(partition, 10 + row * 10), end: Sample.key(partition, end),
                        deletion: DeletionTime(timestamp: Int64.random(in: 1...9, using: &random), localDeletion: 5)))
            }
        }
        return all
    }

    static func all(_ table: SSTable) throws -> [RangeTombstone] {
        let cursor = TombstoneCursor(table, isBulk: true)
        var found: [RangeTombstone] = []
        var more = try cursor.seekToFirst()
        while more {
            found.append(try cursor.tombstone())
            more = try cursor.advance()
        }
        return found
    }

    /// The memory of an open sstable does not grow with its range tombstones, and every lookup finds the tombstone over
    /// its key.
    @Test(arguments: [0, 1, 3, 400, 40_000]) func lookups(count: Int) throws {
        let seed = UInt64(count)
        var random = SeededRandom(seed: seed)
        let partitions = count > 400 ? 4 : 2
        let written = Self.slices(partitions: partitions, rows: count / partitions, random: &random)
        let system = MemoryFileSystem()
        let table = try Self.write(system, written)
        #expect((table.tombstones?.count ?? 0) < 2 << 10)
        #expect((table.tombstones == nil) == written.isEmpty)
        #expect(try Self.all(table) == written)
        #expect(try SSTableVerifier(system: system, path: table.path).verify().isGood)
        let cursor = TombstoneCursor(table, isBulk: false)
        for _ in 0..<2000 {
            // Includes partitions that are not in the sstable.
            let partition = Int.random(in: 0..<partitions + 2, using: &random)
            let key = Sample.key(partition, Int.random(in: 0..<count / partitions * 10 + 30, using: &random))
            var low = 0
            var high = written.count
            while low < high {
                let middle = (low + high) / 2
                if compareBytes(written[middle].start, key) <= 0 { low = middle + 1 } else { high = middle }
            }
            let floor = low > 0 ? written[low - 1] : nil
            let isCovered = floor.map { compareBytes(key, $0.end) < 0 } ?? false
            let expected = isCovered ? floor?.deletion ?? .none : .none
            try key.withUnsafeBytes { raw -> Result<Void, any Error> in
                Result {
                    let shadow = try cursor.shadow(at: raw)
                    #expect(shadow.deletion == expected, "seed \(seed)")
                    #expect(shadow.covers(raw), "seed \(seed)")
                    #expect(shadow.from == (isCovered ? floor?.start : floor?.end), "seed \(seed)")
                    #expect(
                        shadow.to == (isCovered ? floor?.end : low < written.count ? written[low].start : nil),
                        "seed \(seed)")
                    let hash = BloomFilter.hash(
                        UnsafeRawBufferPointer(rebasing: raw[..<KeyView.partitionCount(of: raw)]))
                    #expect(try table.deletion(at: raw, hash: hash) == expected, "seed \(seed)")
                }
            }.get()
        }
    }

    /// Merging sstables in groups gives the same tombstones as merging all at once.
    @Test(arguments: 0..<20) func merging(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let system = MemoryFileSystem()
        var tables: [SSTable] = []
        var everything: [RangeTombstone] = []
        for number in 0..<Int.random(in: 1...4, using: &random) {
            var some: [RangeTombstone] = []
            for _ in 0..<Int.random(in: 0...200, using: &random) {
                let low = Int.random(in: 0..<2000, using: &random)
                let partition = Int.random(in: 0..<3, using: &random)
                some.append(
                    RangeTombstone(
                        start: Sample.key(partition, low),
                        end: Sample.key(partition, low + Int.random(in: 1...20, using: &random)),
                        deletion: DeletionTime(timestamp: Int64.random(in: 1...9, using: &random), localDeletion: 5)))
            }
            some = TombstoneMerge.merged(some)
            everything += some
            tables.append(try Self.write(system, some, name: "\(number + 1)"))
        }
        var found: [RangeTombstone] = []
        try TombstoneMerge.run(tables.map { TombstoneCursor($0, isBulk: true) }) { (one) throws(StorageError) in
            found.append(one)
        }
        #expect(zip(found, found.dropFirst()).allSatisfy { compareBytes($0.end, $1.start) <= 0 }, "seed \(seed)")
        for partition in 0..<3 {
            for row in 0..<2025 {
                let key = Sample.key(partition, row)
                func deletion(_ tombstones: [RangeTombstone]) -> DeletionTime {
                    var latest = DeletionTime.none
                    for one in tombstones where compareBytes(one.start, key) <= 0 && compareBytes(key, one.end) < 0 {
                        latest = latest.latest(one.deletion)
                    }
                    return latest
                }
                if row % 7 == 0 {
                    #expect(deletion(found) == deletion(everything), "seed \(seed), \(partition) \(row)")
                }
            }
        }
    }

    /// An sstable of an unknown version is refused as such, not as damaged.
    @Test func anotherVersionIsRefusedByName() throws {
        let system = MemoryFileSystem()
        var bytes = try SSTableDamageTests.make(system, codec: 0)
        let footer = bytes.count - SSTableFormat.footerBytes
        bytes[footer + 72] = 1
        let checksum = Checksum.xxh3(Array(bytes[footer..<footer + 80]))
        for index in 0..<8 { bytes[footer + 80 + index] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt64(index))) }
        try SSTableDamageTests.write(bytes, system)
        do {
            _ = try SSTable(system: system, path: "d/1.sst", id: 1, cache: nil)
            Issue.record("it was opened")
        } catch {
            guard case .unknownVersion(_, let found, let known) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(found == 1 && known == 3)
        }
    }
}
