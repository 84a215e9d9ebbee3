import DataModel
import Primitives

/// The most recent writes of one shard of a table, sorted, in memory.
///
/// **Thread safety**: while active, read and changed only under the shard's lock. Once frozen it is immutable, and any
/// thread may read it without the lock. Records stay valid as long as the memtable lives.
/// SAFETY: `@unchecked` because the shard's lock, not the type, orders the accesses.
final class Memtable: @unchecked Sendable {
    private let arena = Arena()
    private var rows = BTree()
    private(set) var deletions = RangeTombstoneTree()
    /// No write of this memtable was logged before this commit-log position.
    let firstPosition: LogPosition

    init(firstPosition: LogPosition) { self.firstPosition = firstPosition }

    var isEmpty: Bool { rows.count == 0 && deletions.isEmpty }
    var rowCount: Int { rows.count }
    /// Bytes that count towards the memtable budget.
    var reservedBytes: Int { arena.reservedBytes }

    /// Adds a row, merged with the existing one.
    @inline(__always) func put(
        key: UnsafeRawBufferPointer, row: UnsafeRawBufferPointer, merger: RowMerger, scratch: inout ByteWriter
    ) {
        let arena = arena
        rows.upsert(key, in: arena) { old in
            guard let old else { return Record.make(key: key, value: row, in: arena) }
            scratch.removeAll()
            merger.begin()
            merger.add(RowView(old.value))
            merger.add(RowView(row))
            guard merger.merge(shadow: .none, purge: nil, into: &scratch) else { return nil }
            return Record.make(key: key, value: scratch.bytes, in: arena)
        }
    }

    func delete(_ tombstone: RangeTombstone) { deletions.add(tombstone, in: arena) }

    @inline(__always) func find(_ key: UnsafeRawBufferPointer) -> Record? { rows.find(key) }

    /// Collects up to `limit` records: forward from the first key not below `key`, backward from the last key below it.
    /// - Parameter after: whether to skip `key` itself when going forward.
    func collect(
        from key: UnsafeRawBufferPointer, after: Bool, reversed: Bool, limit: Int, into records: inout [Record]
    ) {
        records.removeAll(keepingCapacity: true)
        var place: BTree.Place?
        if reversed {
            place = rows.before(key)
        } else {
            place = rows.lowerBound(key)
            if after, let here = place, compareBytes(rows.record(here).key, key) == 0 { place = rows.after(here) }
        }
        while let here = place, records.count < limit {
            records.append(rows.record(here))
            place = reversed ? rows.before(here) : rows.after(here)
        }
    }

    func checkInvariants() { rows.checkInvariants() }
}
