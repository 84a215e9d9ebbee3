import DataModel

/// Merges the range tombstones of several tables into one run that does not overlap.
///
/// 1. The tombstone that begins first opens a group; whatever begins before the group's end joins it and may move that end.
/// 2. The group is cut into stretches, over each of which the latest deletion stands (`RangeTombstoneTree`), and handed on.
///
/// Only one group is in memory: those that overlap one another, not all there are.
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

    /// Tombstones in any order as one run that does not overlap.
    static func merged(_ tombstones: [RangeTombstone]) -> [RangeTombstone] {
        if tombstones.count <= 1 { return tombstones }
        let arena = Arena()
        var tree = RangeTombstoneTree()
        for tombstone in tombstones { tree.add(tombstone, in: arena) }
        return tree.all()
    }
}
