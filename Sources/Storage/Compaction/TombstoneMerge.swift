import DataModel

/// Merges the range tombstones of several sstables into one sorted, non-overlapping sequence.
///
/// 1. The tombstone with the smallest start opens a group. Every tombstone that starts before the group's end joins it
///    and may extend that end.
/// 2. Within a group the latest deletion wins on each sub-range (`RangeTombstoneTree`); the results are passed to
///    `visit`.
///
/// Only one group of overlapping tombstones is in memory at a time.
enum TombstoneMerge {
    static func run(
        _ cursors: [TombstoneCursor], _ visit: (RangeTombstone) throws(StorageError) -> Void
    ) throws(StorageError) {
        var live: [TombstoneCursor] = []
        for cursor in cursors where try cursor.seekToFirst() { live.append(cursor) }
        while !live.isEmpty {
            var group: [RangeTombstone] = []
            var end: [UInt8] = []
            while let first = live.indices.min(by: { compareBytes(live[$0].start, live[$1].start) < 0 }),
                group.isEmpty || end.withUnsafeBytes({ compareBytes(live[first].start, $0) < 0 })
            {
                let tombstone = try live[first].tombstone()
                if compareBytes(tombstone.end, end) > 0 { end = tombstone.end }
                group.append(tombstone)
                if try !live[first].advance() { live.remove(at: first) }
            }
            for tombstone in merged(group) { try visit(tombstone) }
        }
    }

    /// Returns tombstones given in any order as a sorted, non-overlapping sequence.
    static func merged(_ tombstones: [RangeTombstone]) -> [RangeTombstone] {
        if tombstones.count <= 1 { return tombstones }
        let arena = Arena()
        var tree = RangeTombstoneTree()
        for tombstone in tombstones { tree.add(tombstone, in: arena) }
        return tree.all()
    }
}
