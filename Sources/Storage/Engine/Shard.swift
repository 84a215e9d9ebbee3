import DataModel
import Primitives
import Synchronization

/// The sstables a shard reads; replaced as a whole.
///
/// Each shard has its own set, so that threads reading different shards do not contend for one reference count.
final class SSTableSet: Sendable {
    /// What a read by key needs to decide whether it must search an sstable, without touching the sstable object.
    ///
    /// SAFETY: the filter's memory stays valid because the set retains the sstable.
    struct Gate {
        let filter: BloomFilter.Lines
        let latest: Int64
        let parts: RowParts
    }

    /// Latest timestamp first.
    let tables: [SSTable]
    /// One per sstable, in the same order.
    let gates: [Gate]
    let hasTombstones: Bool

    init(_ tables: [SSTable]) {
        let sorted = tables.sorted { ($0.statistics.maxTimestamp, $0.id) > ($1.statistics.maxTimestamp, $1.id) }
        self.tables = sorted
        gates = sorted.map {
            Gate(filter: $0.filter.lines, latest: $0.statistics.maxTimestamp, parts: $0.statistics.parts)
        }
        hasTombstones = tables.contains { $0.tombstones != nil }
    }
}

/// One slice of a table's token range: its memtables and the sstables it reads.
///
/// **Invariants**: every acknowledged write is in `active`, in one of `frozen` or in one of `tables`. A memtable leaves
/// `frozen` in the same step in which the sstable that holds its rows enters `tables`.
/// **Thread safety**: `State` is accessed only under the lock, which is held for well under a microsecond and never
/// over I/O.
final class Shard: Sendable {
    /// SAFETY: `@unchecked` because the state is accessed only under the lock.
    struct State: ~Copyable, @unchecked Sendable {
        var active: Memtable
        /// Newest first.
        var frozen: [Memtable] = []
        var tables: SSTableSet
        let merger = RowMerger()
        var scratch = ByteWriter(capacity: 512)

        var hasRangeDeletions: Bool {
            !active.deletions.isEmpty || tables.hasTombstones || frozen.contains { !$0.deletions.isEmpty }
        }
    }

    /// What a reader copies out under the lock.
    struct Snapshot {
        let active: Memtable
        let frozen: [Memtable]
        let tables: SSTableSet
    }

    private let state: Mutex<State>
    /// The keys of the shard: from `range.start` up to the next shard's start.
    let range: KeyRange

    init(range: KeyRange, position: LogPosition, tables: SSTableSet) {
        self.range = range
        state = Mutex(State(active: Memtable(firstPosition: position), tables: tables))
    }

    @inline(__always) func withLock<R>(_ body: () -> R) -> R { state.withLock { _ in body() } }

    @inline(__always) func withState<R>(_ body: (inout State) -> R) -> R { state.withLock { state in body(&state) } }

    func snapshot() -> Snapshot { state.withLock { Snapshot(active: $0.active, frozen: $0.frozen, tables: $0.tables) } }

    /// Adds a row to the active memtable.
    /// - Returns: the number of bytes by which the memtable's memory grew.
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

    /// Freezes the active memtable and starts a new one; nil when the active one is empty.
    func freeze(position: LogPosition) -> Memtable? {
        state.withLock { state in
            if state.active.isEmpty { return nil }
            let frozen = state.active
            state.frozen.insert(frozen, at: 0)
            state.active = Memtable(firstPosition: position)
            return frozen
        }
    }

    /// Replaces the sstables and drops the memtables that were flushed into them.
    func install(_ tables: SSTableSet, dropping flushed: [Memtable]) {
        state.withLock { state in
            state.tables = tables
            if !flushed.isEmpty { state.frozen.removeAll { memtable in flushed.contains { $0 === memtable } } }
        }
    }

    /// Drops all memtables; returns the bytes held by the active one and by the frozen ones.
    func clear(position: LogPosition, tables: SSTableSet) -> (active: Int, frozen: Int) {
        state.withLock { state in
            let bytes = (state.active.reservedBytes, state.frozen.reduce(0) { $0 + $1.reservedBytes })
            state.active = Memtable(firstPosition: position)
            state.frozen = []
            state.tables = tables
            return bytes
        }
    }

    /// The log position from which the shard's memtables still need the commit log; nil when all are empty.
    func dirtySince() -> LogPosition? {
        state.withLock { state in
            var first = state.active.isEmpty ? nil : Optional(state.active.firstPosition)
            for memtable in state.frozen { first = min(first ?? memtable.firstPosition, memtable.firstPosition) }
            return first
        }
    }

    /// Returns whether a memtable may hold data of this partition, and the sstables at the same moment.
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
