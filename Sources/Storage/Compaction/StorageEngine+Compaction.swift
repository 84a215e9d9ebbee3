import DataModel
import Platform
import Primitives
import Synchronization

/// A running compaction.
public struct CompactionProgress: Sendable {
    public var id: Int
    public var directory: String
    public var reason: String
    public var inputBytes: Int
    /// Bytes of keys and rows written so far.
    public var doneBytes: Int
    public var inputs: Int
}

/// The state that all compactions of an engine share.
struct CompactionState: Sendable {
    var running: [CompactionProgress] = []
    var nextID = 1
    var isStopped = false
    var completed = 0
    var bytesRead = 0
    var bytesWritten = 0
    /// For the rate limit: bytes written beyond what the limit allows so far, and when that was last computed, in
    /// monotonic nanoseconds.
    var debtBytes = 0.0
    var paidAt: UInt64 = 0
}

extension StorageEngine {
    /// The running compactions, the number of completed ones, and the bytes those read and wrote.
    public func compactions() -> (running: [CompactionProgress], completed: Int, bytesRead: Int, bytesWritten: Int) {
        compactionState.withLock { ($0.running, $0.completed, $0.bytesRead, $0.bytesWritten) }
    }

    /// Runs compactions in the background for as long as the table's strategy chooses one.
    func scheduleCompaction(_ table: TableStore) {
        guard table.options.compaction != nil else { return }
        core.background.run(.compaction) { [self] in
            do {
                while let task = chooseCompaction(table) { try compact(table, task) }
            } catch { noteFailure("compaction of \(table.directory): \(error)") }
        }
    }

    private func chooseCompaction(_ table: TableStore) -> CompactionTask? {
        let options = table.options
        guard let strategy = options.compaction, !table.isDropped.load(ordering: .relaxed),
            !compactionState.withLock({ $0.isStopped })
        else { return nil }
        return table.version.withLock { version in
            let free = version.tables.filter { !version.busy.contains($0.id) }
            guard let task = strategy.next(free, now: core.time.wallSeconds(), gcGraceSeconds: options.gcGraceSeconds)
            else { return nil }
            version.busy.formUnion(task.inputs.map(\.id))
            return task
        }
    }

    /// Flushes a table and merges all its sstables into one, in the caller's thread.
    public func compactAll(_ table: TableStore) throws(StorageError) {
        try flush(table)
        let task = table.version.withLock { version -> CompactionTask? in
            let free = version.tables.filter { !version.busy.contains($0.id) }
            guard !free.isEmpty else { return nil }
            version.busy.formUnion(free.map(\.id))
            return CompactionTask(inputs: free, reason: "requested")
        }
        if let task { try compact(table, task) }
    }

    /// Merges the inputs into one sstable and replaces them by it.
    ///
    /// 1. All inputs are read in key order at the same time; the versions of each key are merged.
    /// 2. A tombstone older than `gc_grace_seconds` is dropped if it cannot shadow anything outside the inputs: no
    ///    other sstable that may contain the partition has data as old as the tombstone, and no memtable has data of
    ///    the partition.
    /// 3. The new sstable is synced; then the manifest replaces the inputs by it.
    private func compact(_ table: TableStore, _ task: CompactionTask) throws(StorageError) {
        let inputBytes = task.inputs.reduce(0) { $0 + $1.fileBytes }
        let began = core.time.monotonicNanoseconds()
        let progressID = compactionState.withLock { state in
            defer { state.nextID += 1 }
            state.running.append(
                CompactionProgress(
                    id: state.nextID, directory: table.directory, reason: task.reason, inputBytes: inputBytes,
                    doneBytes: 0,
                    inputs: task.inputs.count))
            return state.nextID
        }
        defer {
            // If the table was dropped meanwhile, this compaction's output kept the drop from removing the directory.
            if table.isDropped.load(ordering: .relaxed) {
                do { try core.system.removeDirectory(table.directory) } catch {}  // not empty yet, or already gone
            }
            compactionState.withLock { $0.running.removeAll { $0.id == progressID } }
            table.version.withLock { $0.busy.subtract(task.inputs.map(\.id)) }
        }
        try checkSpace(table, inputBytes)
        let id = core.newSSTableNumber()
        let path = table.directory + "/" + Manifest.sstableFileName(id)
        let writer = try SSTableWriter(
            system: core.system, path: path, options: table.options.files, createdAt: core.time.wallMicroseconds(),
            sources: task.inputs.count)
        do throws(StorageError) {
            try merge(table, task, into: writer, progressID: progressID)
            if table.isDropped.load(ordering: .relaxed) {
                writer.abandon()
                return
            }
            if writer.isEmpty {
                writer.abandon()
                guard try table.replace(task.inputs, with: nil) else { return }
            } else {
                _ = try writer.finish()
                do { try core.system.syncDirectory(table.directory) } catch { throw .file(error) }
                let merged = try SSTable(system: core.system, path: path, id: id, cache: core.cache)
                guard try table.replace(task.inputs, with: merged) else {
                    merged.retire()
                    do { try core.system.remove(path) } catch {}  // removed with the directory's other files
                    return
                }
            }
        } catch {
            table.discard(id, writer)
            // The directory may have been removed meanwhile.
            if table.isDropped.load(ordering: .relaxed) { return }
            throw error
        }
        table.compactionCount.add(1, ordering: .relaxed)
        core.observer(
            .compacted(
                directory: table.directory, reason: task.reason, inputs: task.inputs.count, bytesBefore: inputBytes,
                bytesAfter: writer.byteCount, milliseconds: Int((core.time.monotonicNanoseconds() - began) / 1_000_000))
        )
        compactionState.withLock { state in
            state.completed += 1
            state.bytesRead += inputBytes
            state.bytesWritten += writer.byteCount
        }
    }

    /// Refuses a compaction that could fill the disk: that would stop the commit log, and the compaction would fail and
    /// start again at the next flush.
    private func checkSpace(_ table: TableStore, _ inputBytes: Int) throws(StorageError) {
        let free: Int
        do { free = try core.system.freeSpace(table.directory) } catch { throw .file(error) }
        let needed = inputBytes + 2 * core.options.log.segmentBytes
        guard free >= needed else {
            throw .overloaded(
                "compacting \(table.directory) may need \(needed) bytes of disk, but only \(free) are free")
        }
    }

    private func merge(_ table: TableStore, _ task: CompactionTask, into writer: SSTableWriter, progressID: Int)
        throws(StorageError)
    {
        let now = core.time.wallSeconds()
        let grace = PlantedBugs.isOn(.gcGraceIgnored) ? 0 : table.options.gcGraceSeconds
        let gcBefore = now > grace ? now - grace : 0
        let inputs = Set(task.inputs.map(\.id))
        var lastPartition: [UInt8] = []
        var lastRule: PurgeRule?
        func rule(_ key: UnsafeRawBufferPointer) -> PurgeRule? {
            let partition = UnsafeRawBufferPointer(rebasing: key[..<KeyView.partitionCount(of: key)])
            if let lastRule, lastPartition.withUnsafeBytes({ compareBytes($0, partition) == 0 }) { return lastRule }
            let hash = BloomFilter.hash(partition)
            // Check memtables and sstables in one step: a concurrent flush moves data from one to the other.
            let elsewhere = table.shard(of: key).elsewhere(partition: partition)
            var oldest = elsewhere.isInMemory ? Int64.min : Int64.max
            for other in elsewhere.tables.tables where !inputs.contains(other.id) && other.filter.mayContain(hash) {
                oldest = min(oldest, other.statistics.minTimestamp)
            }
            if PlantedBugs.isOn(.shadowedDataOverlooked) { oldest = .max }
            lastPartition = [UInt8](partition)
            lastRule = PurgeRule(gcBefore: gcBefore, maxPurgeableTimestamp: oldest, now: now)
            return lastRule
        }
        let sources = task.inputs.map {
            ReadSource(SSTableCursor($0, range: .all, direction: .forward, isBulk: true))
        }
        func tombstones() -> [TombstoneCursor] {
            task.inputs.filter { $0.tombstones != nil }.map { TombstoneCursor($0, isBulk: true) }
        }
        let shadows = tombstones().map { RangeTombstoneSource.table($0) }
        let scan = MergeScan(sources: sources, shadows: shadows, direction: .forward, scratch: ReadScratch())
        var sinceThrottle = 0
        var done = 0
        try scan.run(purge: rule) { (key, row) throws(StorageError) in
            try writer.add(key: key, row: row.bytes)
            sinceThrottle += key.count + row.bytes.count
            if sinceThrottle >= 1 << 20 {
                done += sinceThrottle
                try self.pace(sinceThrottle, done: done, progressID: progressID, table: table)
                sinceThrottle = 0
                if table.isDropped.load(ordering: .relaxed) { return false }
            }
            return true
        }
        try TombstoneMerge.run(tombstones()) { (tombstone) throws(StorageError) in
            let mayDrop = tombstone.start.withUnsafeBytes { rule($0)?.mayDrop(tombstone.deletion) ?? false }
            if !mayDrop { try writer.addTombstone(tombstone) }
        }
    }

    /// Records progress, and sleeps to keep writes within the rate limit.
    private func pace(_ bytes: Int, done: Int, progressID: Int, table: TableStore) throws(StorageError) {
        let limit = core.options.compactionBytesPerSecond
        let now = core.time.monotonicNanoseconds()
        let wait: UInt64 = compactionState.withLock { state in
            if let index = state.running.firstIndex(where: { $0.id == progressID }) {
                state.running[index].doneBytes = done
            }
            guard limit > 0 else { return 0 }
            if state.paidAt > 0 && now > state.paidAt {
                state.debtBytes = max(0, state.debtBytes - Double(now - state.paidAt) / 1e9 * Double(limit))
            }
            state.paidAt = now
            state.debtBytes += Double(bytes)
            return UInt64(max(0, state.debtBytes - Double(limit) / 10) / Double(limit) * 1e9)
        }
        if compactionState.withLock({ $0.isStopped }) { throw .stopped("the server is stopping") }
        if wait > 0 { core.background.sleep(nanoseconds: wait) }
    }
}
