import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Synchronization

/// A replica in sorted arrays: the model for transcripts.
final class MemoryReplica: ReplicaPort {
    private struct Table {
        var rows: [(key: [UInt8], row: [UInt8])] = []
        var deletions: [(range: KeyRange, deletion: DeletionTime)] = []

        func place(of key: [UInt8]) -> (index: Int, found: Bool) {
            var low = 0
            var high = rows.count
            while low < high {
                let middle = (low + high) / 2
                if compareBytes(rows[middle].key, key) < 0 { low = middle + 1 } else { high = middle }
            }
            return (low, low < rows.count && rows[low].key == key)
        }

        func shadow(of key: [UInt8]) -> DeletionTime {
            var deepest = DeletionTime.none
            for entry in deletions where key.withUnsafeBytes({ entry.range.contains($0) }) {
                deepest = deepest.latest(entry.deletion)
            }
            return deepest
        }

        /// Returns the merged row as a reader gets it.
        func merged(_ index: Int) -> [UInt8]? {
            var out = ByteWriter()
            let merger = RowMerger()
            return rows[index].row.withUnsafeBytes { bytes in
                merger.begin()
                merger.add(RowView(bytes))
                return merger.merge(shadow: shadow(of: rows[index].key), purge: nil, into: &out) ? out.toArray() : nil
            }
        }

        mutating func put(_ key: [UInt8], _ row: [UInt8]) {
            let (index, found) = place(of: key)
            guard found else { return rows.insert((key, row), at: index) }
            var out = ByteWriter()
            let merger = RowMerger()
            rows[index].row.withUnsafeBytes { old in
                row.withUnsafeBytes { new in
                    merger.begin()
                    merger.add(RowView(old))
                    merger.add(RowView(new))
                    _ = merger.merge(shadow: .none, purge: nil, into: &out)
                }
            }
            rows[index].row = out.toArray()
        }
    }

    private struct State {
        var tables: [UUID: Table] = [:]
        var random: SeededRandom
        var visited = 0
        var calls = 0
    }

    private let state: Mutex<State>
    private let node = UUID(high: 1, low: 1)
    /// One in so many calls on a fiber waits; 0: none.
    let waitsOneIn: UInt64
    /// Calls so far: a statement that is executed twice makes them twice.
    var calls: Int { state.withLock { $0.calls } }

    init(seed: UInt64 = 1, waitsOneIn: UInt64 = 0) {
        state = Mutex(State(random: SeededRandom(seed: seed)))
        self.waitsOneIn = waitsOneIn
    }

    /// The number of rows visited so far: the cost of reads.
    var visited: Int { state.withLock { $0.visited } }

    /// Whether reads on a fiber wait for a background thread, as for a disk.
    let isOnDisk = Atomic<Bool>(false)
    private let announced = Mutex<[KeyRange]>([])
    /// The ranges of `willRead` so far.
    var announcedRanges: [KeyRange] { announced.withLock { $0 } }

    func willRead(table: UUID, ranges: [KeyRange], reversed: Bool) { announced.withLock { $0 += ranges } }

    private func readDisk() { if isOnDisk.load(ordering: .relaxed) { Fiber.blocking(.read) {} } }

    private func mayWait() {
        let waits = state.withLock { state in
            state.calls += 1
            return waitsOneIn > 0 && state.random.next() % waitsOneIn == 0
        }
        if waits { Fiber.current?.sleep(nanoseconds: 1000) }
    }

    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        mayWait()
        try change(mutations.out.bytes) { (_, _, row) in [UInt8](row) }
    }

    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        mayWait()
        try change(deltas.out.bytes) { table, key, row in
            let (index, found) = table.place(of: [UInt8](key))
            let old = found ? table.merged(index) : nil
            return self.counted(row, old)
        }
    }

    private func change(
        _ bytes: UnsafeRawBufferPointer, _ encode: (Table, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> [UInt8]
    ) throws(ReplicaError) {
        var reader = MutationReader(bytes)
        do throws(ByteError) {
            while try reader.nextTable() {
                let id = reader.table
                while let operation = try reader.nextOperation() {
                    state.withLock { state in
                        var table = state.tables[id] ?? Table()
                        switch operation {
                        case .row(let key, let row): table.put([UInt8](key), encode(table, key, row))
                        case .deleteRange(let start, let end, let deletion):
                            table.deletions.append((KeyRange(start: [UInt8](start), end: [UInt8](end)), deletion))
                        }
                        state.tables[id] = table
                    }
                }
            }
        } catch { throw .storage("malformed mutation: \(error)") }
    }

    /// Returns the row with each delta replaced by this node's new shard.
    private func counted(_ deltas: UnsafeRawBufferPointer, _ old: [UInt8]?) -> [UInt8] {
        var shards: [Int: (clock: Int64, count: Int64)] = [:]
        old?.withUnsafeBytes { bytes in
            var cells = RowView(bytes).cells
            while cells.advance() {
                if cells.flags.contains(.counter) {
                    shards[cells.column] = CounterValue.shard(of: node, in: cells.value)
                }
            }
        }
        var out = ByteWriter()
        var writer = RowWriter()
        let row = RowView(deltas)
        writer.begin(timestamp: row.base, liveness: row.hasLiveness, deletion: row.deletion, into: &out)
        var cells = row.cells
        while cells.advance() {
            let before = shards[cells.column] ?? (0, 0)
            let delta = Int64(bigEndian: cells.value.loadUnaligned(as: Int64.self))
            var value = ByteWriter()
            value.writeBE(node.high)
            value.writeBE(node.low)
            value.writeBE(before.clock + 1)
            value.writeBE(before.count &+ delta)
            writer.cell(
                column: cells.column, timestamp: cells.timestamp, value: value.bytes, isCounter: true, into: &out)
        }
        writer.end(into: &out)
        return out.toArray()
    }

    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError) {
        _ = body()
    }

    func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        readDisk()
        mayWait()
        let data = state.withLock { $0.tables[table] } ?? Table()
        for index in reversed ? Array(data.rows.indices.reversed()) : Array(data.rows.indices) {
            let key = data.rows[index].key
            guard key.withUnsafeBytes({ range.contains($0) }), let row = data.merged(index) else { continue }
            state.withLock { $0.visited += 1 }
            let step = key.withUnsafeBytes { key in row.withUnsafeBytes { visit(key, RowView($0)) } }
            if step == .stop { return }
        }
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (_ row: RowView) -> Void) throws(ReplicaError) {
        readDisk()
        mayWait()
        let wanted = key.toArray()
        guard let data = state.withLock({ $0.tables[table] }) else { return }
        let (index, found) = data.place(of: wanted)
        guard found, let row = data.merged(index) else { return }
        state.withLock { $0.visited += 1 }
        row.withUnsafeBytes { visit(RowView($0)) }
    }
}
