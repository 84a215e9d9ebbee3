import DataModel
import Primitives

/// The direction of a scan.
enum Direction { case forward, backward }

/// Iterates over one source of a scan: a memtable or an sstable.
///
/// **Thread safety**: one thread at a time.
/// SAFETY: `key` and `value` are valid until the next `advance`.
final class ReadSource {
    private let table: SSTableCursor?
    private let memtable: MemtableCursor?
    private(set) var key = UnsafeRawBufferPointer(start: nil, count: 0)
    private(set) var value = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Whether rows of this source may hold deletions or expiring cells, which a purge rule may drop.
    let hasDeletions: Bool

    init(_ cursor: SSTableCursor) {
        table = cursor
        memtable = nil
        let statistics = cursor.table.statistics
        hasDeletions = statistics.hasDeletions
    }

    init(_ cursor: MemtableCursor) {
        table = nil
        memtable = cursor
        hasDeletions = true
    }

    func start() throws(StorageError) -> Bool {
        if let table { return take(try table.start(), table) }
        if let memtable { return take(memtable.start(), memtable) }
        return false
    }

    @inline(__always) func advance() throws(StorageError) -> Bool {
        if let table { return take(try table.advance(), table) }
        if let memtable { return take(memtable.advance(), memtable) }
        return false
    }

    @inline(__always) private func take(_ more: Bool, _ cursor: SSTableCursor) -> Bool {
        if more {
            key = cursor.key
            value = cursor.value
        }
        return more
    }

    @inline(__always) private func take(_ more: Bool, _ cursor: MemtableCursor) -> Bool {
        if more {
            key = cursor.record.key
            value = cursor.record.value
        }
        return more
    }
}

/// Iterates over a memtable in batches of records; the shard's lock is held only while a batch is collected.
final class MemtableCursor {
    private let memtable: Memtable
    /// The shard whose lock guards the memtable while it is active; nil when it is frozen.
    private let shard: Shard?
    private let range: KeyRange
    private let direction: Direction
    private var records: [Record] = []
    private var index = 0
    /// The batch size; starts small because most scans end soon.
    private var batch = 16

    private(set) var record = Record(UnsafeMutableRawPointer(bitPattern: 8).unsafelyUnwrapped)  // set before it is read

    init(_ memtable: Memtable, shard: Shard?, range: KeyRange, direction: Direction) {
        self.memtable = memtable
        self.shard = shard
        self.range = range
        self.direction = direction
    }

    func start() -> Bool {
        let from = direction == .forward ? range.start : range.end
        from.withUnsafeBytes { collect(from: $0, after: false) }
        return step()
    }

    @inline(__always) func advance() -> Bool {
        if index == records.count {
            guard records.count == batch else { return false }
            batch = min(batch * 2, 256)
            collect(from: record.key, after: true)
        }
        return step()
    }

    private func collect(from key: UnsafeRawBufferPointer, after: Bool) {
        index = 0
        if let shard {
            shard.withLock {
                memtable.collect(
                    from: key, after: after, reversed: direction == .backward, limit: batch, into: &records)
            }
        } else {
            memtable.collect(from: key, after: after, reversed: direction == .backward, limit: batch, into: &records)
        }
    }

    @inline(__always) private func step() -> Bool {
        guard index < records.count else { return false }
        record = records[index]
        index += 1
        switch direction {
        case .forward: return range.end.withUnsafeBytes { compareBytes(record.key, $0) < 0 }
        case .backward: return range.start.withUnsafeBytes { compareBytes(record.key, $0) >= 0 }
        }
    }
}
