import Primitives

/// Which deletions may be dropped, and when expired cells become tombstones.
public struct PurgeRule: Sendable {
    /// Tombstones with a local deletion time before this, in seconds since 1970, are old enough: now minus
    /// `gc_grace_seconds`.
    public var gcBefore: UInt32
    /// Only deletions with timestamps below this may be dropped: those that cannot shadow data outside the merge.
    public var maxPurgeableTimestamp: Int64
    /// Seconds since 1970; cells that expired by then become tombstones.
    public var now: UInt32

    public init(gcBefore: UInt32, maxPurgeableTimestamp: Int64, now: UInt32) {
        self.gcBefore = gcBefore
        self.maxPurgeableTimestamp = maxPurgeableTimestamp
        self.now = now
    }

    @inlinable public func mayDrop(_ deletion: DeletionTime) -> Bool {
        deletion.localDeletion < gcBefore && deletion.timestamp < maxPurgeableTimestamp
    }
}

/// Merges versions of a row, in its flat encoding.
///
/// 1. The row deletion is the latest of all versions; with the range tombstone over the key it deletes everything that
///    is not newer.
/// 2. The liveness is the latest one that is not deleted.
/// 3. The cells of all versions are merged in order of (column, path). Of several cells at one place the winner has the
///    greater timestamp; at equal timestamps a tombstone wins over an expiring cell, and that over a plain one; then
///    the later expiration, the greater value, and the smaller TTL win.
/// 4. A complex deletion deletes older cells of its column; counter shards are united.
///
/// The result does not depend on the order or grouping of the versions.
/// **Thread safety**: one thread at a time.
public final class RowMerger {
    private var rows: [RowView] = []
    private var cursors: [CellCursor] = []
    private var alive: [Bool] = []
    private var writer = RowWriter()
    private var scratch = ByteWriter(capacity: 64)

    public init() {}

    public func begin() { rows.removeAll(keepingCapacity: true) }
    public func add(_ row: RowView) { rows.append(row) }
    public var count: Int { rows.count }

    /// Appends the merged row to `out`.
    /// - Parameters:
    ///   - shadow: the range tombstone over the row's key, or `.none`.
    ///   - purge: which deletions to drop; nil keeps all.
    /// - Returns: false when nothing is left of the row; nothing is written then.
    public func merge(shadow: DeletionTime, purge: PurgeRule?, into out: inout ByteWriter) -> Bool {
        if rows.count == 1 && shadow.isNone && purge == nil {
            out.write(rows[0].bytes)
            return true
        }
        let start = out.count
        var deletion = DeletionTime.none
        for row in rows { deletion = deletion.latest(row.deletion) }
        let effective = deletion.latest(shadow)
        var liveness: (timestamp: Int64, ttl: UInt32, expires: UInt32) = (.min, 0, .max)
        var hasLiveness = false
        var base = Int64.min
        for row in rows {
            base = max(base, row.base)
            guard row.hasLiveness else { continue }
            let other = (timestamp: row.base, ttl: row.livenessTTL, expires: row.livenessExpires)
            if !hasLiveness || RowMerger.livenessWins(other, liveness) { liveness = other }
            hasLiveness = true
        }
        if hasLiveness && effective.shadows(liveness.timestamp) { hasLiveness = false }
        if let purge, hasLiveness, liveness.ttl > 0, liveness.expires <= purge.now,
            purge.mayDrop(DeletionTime(timestamp: liveness.timestamp, localDeletion: liveness.expires))
        {
            hasLiveness = false
        }
        if hasLiveness { base = liveness.timestamp }
        var keptDeletion = deletion
        if !shadow.isNone && deletion.timestamp <= shadow.timestamp { keptDeletion = .none }
        if let purge, !keptDeletion.isNone, purge.mayDrop(keptDeletion) { keptDeletion = .none }
        writer.begin(
            timestamp: base, liveness: hasLiveness, ttl: liveness.ttl, expires: liveness.expires,
            deletion: keptDeletion, into: &out)
        let cells = mergeCells(effective: effective, purge: purge, into: &out)
        writer.end(into: &out)
        if cells == 0 && !hasLiveness && keptDeletion.isNone {
            out.truncate(to: start)
            return false
        }
        return true
    }

    private static func livenessWins(
        _ a: (timestamp: Int64, ttl: UInt32, expires: UInt32), _ b: (timestamp: Int64, ttl: UInt32, expires: UInt32)
    ) -> Bool {
        if a.timestamp != b.timestamp { return a.timestamp > b.timestamp }
        if (a.ttl > 0) != (b.ttl > 0) { return a.ttl > 0 }
        if a.expires != b.expires { return a.expires > b.expires }
        return a.ttl < b.ttl
    }

    /// Compares the places of two cells within the row.
    @inline(__always) private static func order(_ a: CellCursor, _ b: CellCursor) -> Int {
        if a.column != b.column { return a.column - b.column }
        if a.isComplexDeletion != b.isComplexDeletion { return a.isComplexDeletion ? -1 : 1 }
        return compareBytes(a.path, b.path)
    }

    /// Whether `a` replaces `b` at the same place.
    private static func wins(_ a: CellCursor, _ b: CellCursor) -> Bool {
        let counters = a.flags.contains(.counter) || b.flags.contains(.counter)
        if counters && a.isTombstone != b.isTombstone { return a.isTombstone }
        if a.timestamp != b.timestamp { return a.timestamp > b.timestamp }
        if a.isTombstone != b.isTombstone { return a.isTombstone }
        if a.isExpiring != b.isExpiring { return a.isExpiring }
        if a.localDeletion != b.localDeletion { return a.localDeletion > b.localDeletion }
        let order = compareBytes(a.value, b.value)
        if order != 0 { return order > 0 }
        return a.ttl < b.ttl
    }

    private func mergeCells(effective: DeletionTime, purge: PurgeRule?, into out: inout ByteWriter) -> Int {
        cursors.removeAll(keepingCapacity: true)
        for row in rows {
            var cursor = row.cells
            if cursor.advance() { cursors.append(cursor) }
        }
        var written = 0
        var column = -1
        var columnDeletion = DeletionTime.none
        while !cursors.isEmpty {
            var best = 0
            var several = false
            for index in 1..<max(1, cursors.count) {
                let order = RowMerger.order(cursors[index], cursors[best])
                if order < 0 {
                    best = index
                    several = false
                } else if order == 0 {
                    several = true
                }
            }
            var cell = cursors[best]
            if cell.column != column {
                column = cell.column
                columnDeletion = .none
            }
            // Deleted versions are ignored: an old counter shard must not survive its deletion because of its clock.
            func isGone(_ cell: CellCursor) -> Bool {
                effective.shadows(cell.timestamp) || (!cell.isComplexDeletion && columnDeletion.shadows(cell.timestamp))
            }
            var isThere = !isGone(cell)
            var united = false
            if several {
                for index in cursors.indices where index != best && RowMerger.order(cursors[index], cursors[best]) == 0
                {
                    let other = cursors[index]
                    if isGone(other) { continue }
                    if !isThere {
                        cell = other
                        isThere = true
                    } else if cell.flags.contains(.counter) && other.flags.contains(.counter) && !cell.isTombstone
                        && !other.isTombstone
                    {
                        unite(cell, other, already: united)
                        united = true
                        if other.timestamp > cell.timestamp { cell = other }
                    } else if RowMerger.wins(other, cell) {
                        cell = other
                        united = false
                    }
                }
            }
            if isThere && cell.isComplexDeletion {
                columnDeletion = cell.deletion
                if !(purge?.mayDrop(cell.deletion) ?? false) {
                    writer.complexDeletion(column: column, deletion: cell.deletion, into: &out)
                    written += 1
                }
            } else if isThere {
                written += write(cell, united: united, purge: purge, into: &out)
            }
            step(past: best, several: several)
        }
        return written
    }

    /// Advances every cursor that is at the same place as cursor `best`.
    private func step(past best: Int, several: Bool) {
        if !several {
            if !cursors[best].advance() { cursors.remove(at: best) }
            return
        }
        let place = cursors[best]
        var index = 0
        while index < cursors.count {
            if RowMerger.order(cursors[index], place) == 0, !cursors[index].advance() {
                cursors.remove(at: index)
            } else {
                index += 1
            }
        }
    }

    /// Writes the union of two counters' shards to `scratch`.
    private func unite(_ a: CellCursor, _ b: CellCursor, already: Bool) {
        if already {
            let before = scratch.toArray()
            scratch.removeAll()
            before.withUnsafeBytes { CounterValue.merge($0, b.value, into: &scratch) }
        } else {
            scratch.removeAll()
            CounterValue.merge(a.value, b.value, into: &scratch)
        }
    }

    private func write(_ cell: CellCursor, united: Bool, purge: PurgeRule?, into out: inout ByteWriter) -> Int {
        let hasPath = cell.flags.contains(.hasPath)
        var deletion = cell.deletion
        var dead = cell.isTombstone
        if let purge {
            if cell.isExpiring && cell.localDeletion <= purge.now { dead = true }
            deletion.localDeletion = cell.localDeletion
            if dead && purge.mayDrop(deletion) { return 0 }
        }
        if dead {
            if hasPath {
                writer.tombstone(column: cell.column, path: cell.path, deletion: deletion, into: &out)
            } else {
                writer.tombstone(column: cell.column, deletion: deletion, into: &out)
            }
        } else if hasPath {
            writer.cell(
                column: cell.column, path: cell.path, timestamp: cell.timestamp, ttl: cell.ttl,
                expires: cell.localDeletion,
                value: cell.value, into: &out)
        } else {
            writer.cell(
                column: cell.column, timestamp: cell.timestamp, ttl: cell.ttl, expires: cell.localDeletion,
                value: united ? scratch.bytes : cell.value, isCounter: cell.flags.contains(.counter), into: &out)
        }
        return 1
    }
}
