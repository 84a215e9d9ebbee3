import DataModel
import Platform
import Primitives

extension TableStore {
    /// Visits the merged row with exactly this key, if there is one.
    /// - Parameter purge: which deletions to leave out; nil keeps all. With a rule the row is byte for byte the one a
    ///   scan with that rule returns, so replicas with the same data return equal rows however their sstables are laid
    ///   out.
    public func get(
        _ key: UnsafeRawBufferPointer, purge: PurgeRule? = nil, _ visit: (RowView) -> Void
    ) throws(StorageError) {
        readCount.add(1, ordering: .relaxed)
        let shard = shard(of: key)
        var records: (Record?, Memtable?) = (nil, nil)
        var more: [(Record, Memtable)] = []
        var deletion = DeletionTime.none
        let set = shard.withState { state in
            if let record = state.active.find(key) { records = (record, state.active) }
            if !state.active.deletions.isEmpty { deletion = state.active.deletions.deletion(at: key) }
            if !state.frozen.isEmpty {
                for memtable in state.frozen {
                    if let record = memtable.find(key) { more.append((record, memtable)) }
                    if !memtable.deletions.isEmpty { deletion = deletion.latest(memtable.deletions.deletion(at: key)) }
                }
            }
            return state.tables
        }
        defer { withExtendedLifetime((records.1, more)) {} }
        var found: [SSTable.Found] = []
        var single: SSTable.Found?
        var mayPurge = records.0 != nil || !more.isEmpty
        if !set.tables.isEmpty {
            let hash = BloomFilter.hash(UnsafeRawBufferPointer(rebasing: key[..<KeyView.partitionCount(of: key)]))
            var cover = RowCompleteness()
            if let record = records.0 { cover.add(RowView(record.value)) }
            for (record, _) in more { cover.add(RowView(record.value)) }
            for index in set.gates.indices
            where set.gates[index].filter.mayContain(hash) && !cover.hides(set.gates[index]) {
                guard let one = try set.tables[index].find(key) else { continue }
                if purge != nil && set.tables[index].statistics.hasDeletions { mayPurge = true }
                if single == nil { single = one } else { found.append(one) }
                if set.tables.count > 1 { cover.add(RowView(one.row)) }
            }
            if set.hasTombstones {
                for table in set.tables where table.tombstones != nil {
                    deletion = deletion.latest(try table.deletion(at: key, hash: hash))
                }
            }
        }
        let count = (records.0 == nil ? 0 : 1) + more.count + (single == nil ? 0 : 1) + found.count
        if count == 0 { return }
        let rule = mayPurge ? purge : nil
        if count == 1 && deletion.isNone && rule == nil {
            if let record = records.0 {
                visit(RowView(record.value))
            } else if let record = more.first?.0 {
                visit(RowView(record.value))
            } else if let single {
                withExtendedLifetime(single) { visit(RowView(single.row)) }
            }
            return
        }
        engine.withScratch { scratch in
            scratch.merger.begin()
            if let record = records.0 { scratch.merger.add(RowView(record.value)) }
            for (record, _) in more { scratch.merger.add(RowView(record.value)) }
            if let single { scratch.merger.add(RowView(single.row)) }
            for one in found { scratch.merger.add(RowView(one.row)) }
            scratch.out.removeAll()
            withExtendedLifetime((single, found)) {
                if scratch.merger.merge(shadow: deletion, purge: rule, into: &scratch.out) {
                    visit(RowView(scratch.out.bytes))
                }
            }
        }
    }

    /// Visits the merged rows with keys in `range`, forward or in reverse, until `visit` returns false.
    /// - Parameters:
    ///   - purge: which deletions to leave out; nil keeps all.
    ///   - isBulk: whether to read blocks past the cache, for large scans that will not be repeated soon.
    ///   - excluded: numbers of sstables to leave out.
    public func scan(
        _ range: KeyRange, reversed: Bool, purge: PurgeRule? = nil, isBulk: Bool = false,
        excluding excluded: Set<UInt32> = [],
        _ visit: (UnsafeRawBufferPointer, RowView) -> Bool
    ) throws(StorageError) {
        readCount.add(1, ordering: .relaxed)
        var goOn = true
        for shard in reversed ? shards.reversed() : shards where goOn {
            let start = compareBytes(range.start, shard.range.start) > 0 ? range.start : shard.range.start
            let end = compareBytes(range.end, shard.range.end) < 0 ? range.end : shard.range.end
            let part = KeyRange(start: start, end: end)
            if part.isEmpty { continue }
            let scan = scan(
                shard, part, direction: reversed ? .backward : .forward, isBulk: isBulk, excluding: excluded)
            var untilYield = TableStore.rowsBetweenYields
            try scan.run(purge: purge.map { purge in { _ in purge } }) { (key, row) throws(StorageError) in
                goOn = visit(key, row)
                untilYield -= 1
                if untilYield == 0 {
                    untilYield = TableStore.rowsBetweenYields
                    Fiber.yieldIfNeeded()
                }
                return goOn
            }
        }
    }

    /// Rows of a scan after which a fiber looks whether others should go first.
    private static let rowsBetweenYields = 32

    private func scan(
        _ shard: Shard, _ range: KeyRange, direction: Direction, isBulk: Bool, excluding excluded: Set<UInt32>
    ) -> MergeScan {
        let snapshot = shard.snapshot()
        var sources: [ReadSource] = []
        var shadows: [RangeTombstoneSource] = []
        sources.append(ReadSource(MemtableCursor(snapshot.active, shard: shard, range: range, direction: direction)))
        let activeHasDeletions = shard.withLock { !snapshot.active.deletions.isEmpty }
        if activeHasDeletions { shadows.append(.memtable(snapshot.active, shard)) }
        for memtable in snapshot.frozen {
            sources.append(ReadSource(MemtableCursor(memtable, shard: nil, range: range, direction: direction)))
            if !memtable.deletions.isEmpty { shadows.append(.memtable(memtable, nil)) }
        }
        let single = TableStore.singlePartition(range)
        let hash = single.map { count in
            range.start.withUnsafeBytes { BloomFilter.hash(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        for table in snapshot.tables.tables where table.overlaps(range) {
            if !excluded.isEmpty && excluded.contains(table.id) { continue }
            if let hash, !table.filter.mayContain(hash) { continue }
            if table.tombstones != nil { shadows.append(.table(TombstoneCursor(table, isBulk: isBulk))) }
            if let single, TableStore.isOutsideClustering(table.statistics, range, partitionCount: single) { continue }
            sources.append(
                ReadSource(SSTableCursor(table, range: range, direction: direction, isBulk: isBulk)))
        }
        return MergeScan(sources: sources, shadows: shadows, direction: direction, scratch: ReadScratch())
    }

    /// Returns the range tombstones that overlap `range`, of all memtables and sstables, clipped to it.
    /// - Parameter excluded: numbers of sstables to leave out.
    public func rangeDeletions(
        in range: KeyRange, excluding excluded: Set<UInt32> = []
    ) throws(StorageError) -> RangeDeletions {
        var found = RangeDeletions()
        for index in range.start.withUnsafeBytes({ shardIndex(of: $0) })..<shards.count {
            let shard = shards[index]
            if compareBytes(shard.range.start, range.end) >= 0 { break }
            guard shard.withState({ $0.hasRangeDeletions }) else { continue }
            let snapshot = shard.snapshot()
            var inMemory = shard.withLock { snapshot.active.deletions.overlapping(range.start, range.end) }
            for memtable in snapshot.frozen { inMemory += memtable.deletions.overlapping(range.start, range.end) }
            for tombstone in inMemory { found.add(tombstone) }
            for table in snapshot.tables.tables where table.tombstones != nil && !excluded.contains(table.id) {
                let cursor = TombstoneCursor(table, isBulk: false)
                var more = try range.start.withUnsafeBytesTyped { (start) throws(StorageError) in try cursor.seek(start)
                }
                while more, range.end.withUnsafeBytes({ compareBytes(cursor.start, $0) < 0 }) {
                    found.add(try cursor.tombstone())
                    more = try cursor.advance()
                }
            }
        }
        return found.clipped(to: range)
    }

    /// The length of the partition part of the keys, in bytes, when the range lies within one partition; else nil.
    static func singlePartition(_ range: KeyRange) -> Int? {
        range.start.withUnsafeBytes { start -> Int? in
            let count = KeyView.partitionCount(of: start)
            guard start.count >= KeyView.partitionHeaderBytes, count >= KeyView.partitionHeaderBytes,
                start.count >= KeyView.partitionHeaderBytes
                    + Int(start.loadUnaligned(fromByteOffset: 8, as: UInt16.self).bigEndian)
            else { return nil }
            return range.end.withUnsafeBytes { end -> Int? in
                guard end.count > count,
                    compareBytes(
                        UnsafeRawBufferPointer(rebasing: start[..<count]),
                        UnsafeRawBufferPointer(rebasing: end[..<count])) == 0
                else { return nil }
                return count
            }
        }
    }

    /// Whether all clustering keys of an sstable lie outside the range.
    private static func isOutsideClustering(_ statistics: SSTableStatistics, _ range: KeyRange, partitionCount: Int)
        -> Bool
    {
        guard !statistics.minClustering.isEmpty else { return false }
        let start = Array(range.start[partitionCount...])
        let end = Array(range.end[partitionCount...])
        // Static rows sort before all clustering keys and are not in the statistics' clustering bounds, so a range that
        // may include them is never skipped.
        if let first = start.first, first > KeyView.staticKind {
            return compareBytes(statistics.maxClustering, start) < 0 || compareBytes(end, statistics.minClustering) <= 0
        }
        return false
    }
}
