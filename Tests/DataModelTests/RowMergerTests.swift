import DataModel
import Primitives
import Testing

@Suite struct RowMergerTests {
    /// Returns a random version of a row with plain and collection cells and tombstones.
    /// - Parameter mixes: whether a column may have cells of different kinds, which the planner never writes.
    static func version(_ random: inout SeededRandom, mixes: Bool = false) -> [UInt8] {
        var out = ByteWriter()
        var writer = RowWriter()
        let stamp = Int64.random(in: 1...6, using: &random)
        let deletion =
            random.next() % 4 == 0
            ? DeletionTime(timestamp: Int64.random(in: 1...6, using: &random), localDeletion: 50) : DeletionTime.none
        let ttl: UInt32 = random.next() % 3 == 0 ? 10 : 0
        writer.begin(
            timestamp: stamp, liveness: Bool.random(using: &random), ttl: ttl, expires: 100, deletion: deletion,
            into: &out)
        for column in 0..<3 where Bool.random(using: &random) {
            let time = Int64.random(in: 1...6, using: &random)
            let value = [UInt8.random(in: 0...3, using: &random)]
            value.withUnsafeBytes { value in
                if mixes && Bool.random(using: &random) {
                    writer.complexDeletion(
                        column: column,
                        deletion: DeletionTime(timestamp: Int64.random(in: 1...6, using: &random), localDeletion: 70),
                        into: &out)
                }
                switch random.next() % 4 {
                case 0:
                    writer.tombstone(
                        column: column, deletion: DeletionTime(timestamp: time, localDeletion: 60), into: &out)
                case 1:
                    writer.cell(
                        column: column, timestamp: time, ttl: 5, expires: UInt32.random(in: 90...92, using: &random),
                        value: value,
                        into: &out)
                default: writer.cell(column: column, timestamp: time, value: value, into: &out)
                }
            }
        }
        if Bool.random(using: &random) {
            writer.complexDeletion(
                column: 5,
                deletion: DeletionTime(timestamp: Int64.random(in: 1...6, using: &random), localDeletion: 70),
                into: &out)
        }
        if mixes && Bool.random(using: &random) {
            [UInt8(9)].withUnsafeBytes {
                writer.cell(column: 5, timestamp: Int64.random(in: 1...6, using: &random), value: $0, into: &out)
            }
        }
        for path in 0..<3 where Bool.random(using: &random) {
            let bytes = [UInt8(path)]
            bytes.withUnsafeBytes {
                writer.cell(
                    column: 5, path: $0, timestamp: Int64.random(in: 1...6, using: &random), value: $0, into: &out)
            }
        }
        writer.end(into: &out)
        return out.toArray()
    }

    static func merge(_ rows: [[UInt8]], shadow: DeletionTime = .none, purge: PurgeRule? = nil) -> [UInt8] {
        let merger = RowMerger()
        var out = ByteWriter()
        merger.begin()
        func add(_ index: Int) {
            if index == rows.count {
                _ = merger.merge(shadow: shadow, purge: purge, into: &out)
                return
            }
            rows[index].withUnsafeBytes {
                merger.add(RowView($0))
                add(index + 1)
            }
        }
        add(0)
        return out.toArray()
    }

    /// Returns the meaning of a row independently of its encoding (such as the choice of base timestamp).
    static func meaning(_ bytes: [UInt8]) -> [String] {
        if bytes.isEmpty { return [] }
        return bytes.withUnsafeBytes { raw in
            let row = RowView(raw)
            var lines: [String] = []
            if row.hasLiveness {
                lines.append("live \(row.livenessTimestamp) \(row.livenessTTL) \(row.livenessExpires)")
            }
            if !row.deletion.isNone { lines.append("deleted \(row.deletion)") }
            var cursor = row.cells
            while cursor.advance() {
                lines.append(
                    "\(cursor.column) \([UInt8](cursor.path)) \(cursor.isComplexDeletion) \(cursor.isTombstone) \(cursor.timestamp) \(cursor.ttl) \(cursor.localDeletion) \([UInt8](cursor.value))"
                )
            }
            return lines
        }
    }

    @Test(arguments: [false, true]) func mergingIsCommutativeAssociativeAndIdempotent(mixes: Bool) {
        var random = SeededRandom(seed: 3)
        for round in 0..<4000 {
            let a = Self.version(&random, mixes: mixes)
            let b = Self.version(&random, mixes: mixes)
            let c = Self.version(&random, mixes: mixes)
            let all = Self.meaning(Self.merge([a, b, c]))
            #expect(all == Self.meaning(Self.merge([c, a, b])), "round \(round)")
            let ab = Self.merge([a, b])
            #expect(all == Self.meaning(ab.isEmpty ? Self.merge([c]) : Self.merge([ab, c])), "round \(round)")
            let once = Self.merge([a, b, c])
            if !once.isEmpty { #expect(all == Self.meaning(Self.merge([once, once, a])), "round \(round)") }
            let shadow = DeletionTime(timestamp: Int64.random(in: 0...7, using: &random), localDeletion: 1)
            let late = once.isEmpty ? [] : Self.meaning(Self.merge([once], shadow: shadow))
            #expect(
                Self.meaning(Self.merge([a, b, c], shadow: shadow)) == late,
                "round \(round): shadow \(shadow.timestamp)")
        }
    }

    @Test func counterShardsMergeAndDeletedOnesAreDropped() {
        func row(_ time: Int64, clock: Int64, count: Int64, deletion: DeletionTime = .none) -> [UInt8] {
            var out = ByteWriter()
            var writer = RowWriter()
            writer.begin(timestamp: time, liveness: false, deletion: deletion, into: &out)
            var value = ByteWriter()
            value.writeBE(UInt64(1))
            value.writeBE(UInt64(2))
            value.writeBE(clock)
            value.writeBE(count)
            if clock > 0 { writer.cell(column: 0, timestamp: time, value: value.bytes, isCounter: true, into: &out) }
            writer.end(into: &out)
            return out.toArray()
        }
        func total(_ bytes: [UInt8]) -> Int64? {
            bytes.withUnsafeBytes { raw in
                var cursor = RowView(raw).cells
                return cursor.advance() ? CounterValue.total(cursor.value) : nil
            }
        }
        #expect(total(Self.merge([row(10, clock: 1, count: 5), row(11, clock: 2, count: 8)])) == 8)
        let deleted = row(20, clock: 0, count: 0, deletion: DeletionTime(timestamp: 20, localDeletion: 1))
        #expect(total(Self.merge([row(10, clock: 7, count: 50), deleted, row(21, clock: 1, count: 3)])) == 3)
    }

    @Test func cellsWrittenOutOfOrderAreSorted() {
        var out = ByteWriter()
        var writer = RowWriter()
        writer.begin(timestamp: 1, liveness: true, into: &out)
        for column in [4, 1, 9, 0] {
            [UInt8(column)].withUnsafeBytes { writer.cell(column: column, timestamp: 1, value: $0, into: &out) }
        }
        writer.end(into: &out)
        var columns: [Int] = []
        var cursor = RowView(out.bytes).cells
        while cursor.advance() { columns.append(cursor.column) }
        #expect(columns == [0, 1, 4, 9])
    }

    @Test func validationRefusesEveryTruncationAndNeverTraps() {
        var random = SeededRandom(seed: 5)
        for _ in 0..<300 {
            let row = Self.version(&random)
            for length in 0..<row.count {
                Array(row[..<length]).withUnsafeBytes { raw in do { try RowView.validate(raw) } catch {} }
            }
            row.withUnsafeBytes { raw in #expect(throws: Never.self) { try RowView.validate(raw) } }
        }
    }
}
