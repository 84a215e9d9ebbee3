import DataModel
import Primitives
import Synchronization

/// The tables a shard reads. Replaced as a whole.
///
/// Each shard has a set of its own: threads that read from different shards do not count references to the same object.
final class SSTableSet: Sendable {
    /// What decides whether a read by key must ask a table, without touching the table.
    ///
    /// SAFETY: the set keeps the table and its filter.
    struct Gate {
        let filter: BloomFilter.Lines
        let latest: Int64
        let parts: RowParts
    }

    /// Those with the latest timestamps first.
    let tables: [SSTable]
    /// One for each table.
    let gates: [Gate]
    let hasTombstones: Bool

    init(_ tables: [SSTable]) {
        let sorted = tables.sorted { ($0.statistics.maxTimestamp, $0.id) > ($1.statistics.maxTimestamp, $1.id) }
        self.tables = sorted
        gates = sorted.map { Gate(filter: $0.filter.lines, latest: $0.statistics.maxTimestamp, parts: $0.statistics.parts) }
        hasTombstones = tables.contains { $0.tombstones != nil }
    }
}

/// One slice of a table's token range: its memtables and the tables it reads.
///
/// **Invariants**: every write acknowledged is in `active`, in one of `frozen` or in one of `tables`. A memtable leaves `frozen` in the same step in which the table
/// that holds it enters `tables`.
/// **Thread safety**: all of `State` only under the lock, which is held for well under a microsecond and never over I/O.
final class Shard: Sendable {
    /// SAFETY: `@unchecked` because it is reached only through the lock.
    struct State: ~Copyable, @unchecked Sendable {
        var active: Memtable
        /// Newest first.
        var frozen: [Memtable] = []
        var tables: SSTableSet
        let merger = RowMerger()
        var scratch = ByteWriter(capacity: 512)

        var hasRangeDeletions: Bool { !active.deletions.isEmpty || tables.hasTombstones || frozen.contains { !$0.deletions.isEmpty } }
    }

    /// What a reader takes out under the lock.
    struct Snapshot {
        let active: Memtable
        let frozen: [Memtable]
        let tables: SSTableSet
    }

    private let state: Mutex<State>
    /// Keys of the shard: `range.start` up to the next shard's.
    let range: KeyRange

    init(range: KeyRange, position: LogPosition, tables: SSTableSet) {
        self.range = range
        state = Mutex(State(active: Memtable(firstPosition: position), tables: tables))
    }

    @inline(__always) func withLock<R>(_ body: () -> R) -> R { state.withLock { _ in body() } }

    @inline(__always) func withState<R>(_ body: (inout State) -> R) -> R { state.withLock { state in body(&state) } }

    func snapshot() -> Snapshot { state.withLock { Snapshot(active: $0.active, frozen: $0.frozen, tables: $0.tables) } }

    /// Adds a row to the active memtable.
    /// - Returns: bytes by which its memory grew.
    @inline(__always) func put(key: UnsafeRawBufferPointer, row: UnsafeRawBufferPointer) -> Int {
        state.withLock { state in
            let before = state.active.reservedBytes
            state.active.put(key: key, row: row, merger: state.merger, scratch: &state.scratch)
            return state.active.reservedBytes - before
        }
    }

    func delete(_ tombstone: RangeTombstone) -> Int {
        state.withLock { state in
            let before = state.active.reservedBytes
            state.active.delete(tombstone)
            return state.active.reservedBytes - before
        }
    }

    /// Makes the active memtable immutable and begins a new one; nil when it is empty.
    func freeze(position: LogPosition) -> Memtable? {
        state.withLock { state in
            if state.active.isEmpty { return nil }
            let frozen = state.active
            state.frozen.insert(frozen, at: 0)
            state.active = Memtable(firstPosition: position)
            return frozen
        }
    }

    /// Replaces the tables and drops the memtables they now hold.
    func install(_ tables: SSTableSet, dropping flushed: [Memtable]) {
        state.withLock { state in
            state.tables = tables
            if !flushed.isEmpty { state.frozen.removeAll { memtable in flushed.contains { $0 === memtable } } }
        }
    }

    /// Drops everything in memory; returns the bytes it held in the active memtable and in frozen ones.
    func clear(position: LogPosition, tables: SSTableSet) -> (active: Int, frozen: Int) {
        state.withLock { state in
            let bytes = (state.active.reservedBytes, state.frozen.reduce(0) { $0 + $1.reservedBytes })
            state.active = Memtable(firstPosition: position)
            state.frozen = []
            state.tables = tables
            return bytes
        }
    }

    /// Position in the log below which no memtable of the shard needs anything; nil when all are empty.
    func dirtySince() -> LogPosition? {
        state.withLock { state in
            var first = state.active.isEmpty ? nil : Optional(state.active.firstPosition)
            for memtable in state.frozen { first = min(first ?? memtable.firstPosition, memtable.firstPosition) }
            return first
        }
    }

    /// Whether memory holds anything of this partition, and the files there are beside it at that moment.
    func elsewhere(partition: UnsafeRawBufferPointer) -> (isInMemory: Bool, tables: SSTableSet) {
        state.withLock { state in
            var records: [Record] = []
            func holds(_ memtable: Memtable) -> Bool {
                if !memtable.deletions.isEmpty { return true }
                memtable.collect(from: partition, after: false, reversed: false, limit: 1, into: &records)
                guard let key = records.first?.key, key.count >= partition.count else { return false }
                return compareBytes(UnsafeRawBufferPointer(rebasing: key[..<partition.count]), partition) == 0
            }
            return (holds(state.active) || state.frozen.contains { holds($0) }, state.tables)
        }
    }
}
