import DataModel
import Platform
import Primitives
import Synchronization

/// The storage engine of one node: its tables, their shared memtable budget and their commit log.
///
/// A write puts each row into the memtable of its shard, then appends the mutations to the commit log as one unit.
/// `flushLog` at the end of the tick passes the log to the kernel; only then may the caller acknowledge the write.
/// Until a memtable is flushed, the commit log is kept from the position at which the memtable began.
/// TRUNCATE drops the table and creates a new one: replay ignores records with the old table id.
///
/// **Thread safety**: all methods, from any thread.
public final class StorageEngine: Sendable {
    let core: EngineCore
    public let directory: String
    /// The current time of the engine's clock, in nanoseconds.
    public var monotonicNanoseconds: UInt64 { core.time.monotonicNanoseconds() }
    private let tables = Mutex<[UUID: TableStore]>([:])
    private let flushQueued = Atomic<Bool>(false)
    /// Whether the last flush in the background failed.
    private let isFlushFailing = Atomic<Bool>(false)
    let compactionState = Mutex(CompactionState())
    private let isClosed = Atomic<Bool>(false)
    /// Resume writers that wait for memory.
    private let memoryWaiters = Mutex<[@Sendable () -> Void]>([])
    private let lastFailure = Mutex<String?>(nil)

    /// - Parameters:
    ///   - directory: the data directory; `commitlog/` and `data/` in it are created if missing.
    ///   - observer: called with events of background work, on the background threads.
    public init(
        system: any FileSystem, time: any TimeSource, background: any Background, directory: String,
        options: StorageOptions,
        observer: @escaping @Sendable (EngineEvent) -> Void = { _ in }
    ) throws(StorageError) {
        precondition(
            options.shards > 0 && options.shards <= 256 && options.shards & (options.shards - 1) == 0,
            "shards: a power of two up to 256")
        core = EngineCore(system: system, time: time, background: background, options: options, observer: observer)
        self.directory = directory
        do {
            try system.createDirectory(directory + "/commitlog")
            try system.createDirectory(directory + "/data")
        } catch { throw .file(error) }
    }

    /// Creates an engine around a table that is already open, for offline tools.
    init(core: EngineCore, directory: String, table: TableStore? = nil) {
        self.core = core
        self.directory = directory
        if let table { tables.withLock { $0[table.id] = table } }
    }

    public var options: StorageOptions { core.options }
    /// Where what the engine does in the background runs.
    public var background: any Background { core.background }
    public var cache: BlockCache { core.cache }
    public var log: CommitLog? { core.log }
    public var memtableBytes: Int { core.memoryBytes.load(ordering: .relaxed) }
    /// The reason the commit log refuses writes, or else the last failure of background work, for `status`; nil when
    /// healthy.
    public var failure: String? { core.log?.failure ?? lastFailure.withLock { $0 } }

    /// Records a failure of background work, which has no caller to throw to.
    public func report(_ what: String) { noteFailure(what) }

    func noteFailure(_ what: String?) {
        if let what { core.observer(.failed(what)) }
        lastFailure.withLock { $0 = what }
    }

    // MARK: Tables

    /// Opens the table in `data/NAME`; a missing directory is created, and the table is then empty.
    @discardableResult public func openTable(_ id: UUID, name: String, options: TableStoreOptions) throws(StorageError)
        -> TableStore
    {
        if let table = table(id) { return table }
        let table = try TableStore(id: id, directory: directory + "/data/" + name, options: options, engine: core)
        tables.withLock { $0[id] = table }
        return table
    }

    /// Creates a new, empty table in `data/NAME`. Removes the files of an earlier table there; replay ignores
    /// commit-log records from before this call, even with the same id.
    @discardableResult public func createTable(_ id: UUID, name: String, options: TableStoreOptions)
        throws(StorageError) -> TableStore
    {
        if let table = table(id) { return table }
        let path = directory + "/data/" + name
        do { if core.system.exists(path) { _ = try removeTableFiles(path) } } catch { throw .file(error) }
        return try openTable(id, name: name, options: options)
    }

    @inline(__always) public func table(_ id: UUID) -> TableStore? { tables.withLock { $0[id] } }

    public var allTables: [TableStore] { tables.withLock { Array($0.values) } }

    /// Closes a table and removes its directory, except for snapshots. Readers that have a file open can finish.
    /// - Throws: `file` when some files could not be removed; `removeLeftovers` removes them at the next start.
    public func dropTable(_ id: UUID) throws(StorageError) {
        guard let table = tables.withLock({ $0.removeValue(forKey: id) }) else { return }
        table.isDropped.store(true, ordering: .relaxed)
        try empty(table)
        do { _ = try removeTableFiles(table.directory) } catch {
            // A running compaction is still writing there; it removes its file and the directory when it ends.
            if compactionState.withLock({ $0.running.contains { $0.directory == table.directory } }) { return }
            throw .file(error)
        }
    }

    private func empty(_ table: TableStore) throws(StorageError) {
        try table.flushing.withLockTyped { (_) throws(StorageError) in
            var old: [Memtable] = []
            for shard in table.shards {
                if let memtable = shard.freeze(position: core.log?.position ?? .start) {
                    core.activeBytes.subtract(memtable.reservedBytes, ordering: .relaxed)
                }
                old += shard.snapshot().frozen
            }
            try table.removeFiles(dropping: old)
            for memtable in old { self.forget(memtable.reservedBytes, of: table, active: false) }
        }
        releaseLog()
    }

    // MARK: Writing

    /// Puts encoded mutations into the memtables and appends them to the commit log.
    ///
    /// Throws before changing anything if they are too large, name an unknown table, or the log refuses writes. If the
    /// append itself fails, or a later operation does not parse, this throws although rows are in the memtables.
    @inline(__always) public func apply(_ mutations: UnsafeRawBufferPointer) throws(StorageError) {
        if isOutOfMemory { try waitForMemory() }
        try put(mutations)
    }

    /// As `apply`, but does not wait.
    /// - Returns: false, with nothing done, when memory for memtables is used up.
    @inline(__always) public func applyAtOnce(_ mutations: UnsafeRawBufferPointer) throws(StorageError) -> Bool {
        if isOutOfMemory { return false }
        try put(mutations)
        return true
    }

    @inline(__always) private func put(_ mutations: UnsafeRawBufferPointer) throws(StorageError) {
        if let log = core.log {
            guard mutations.count <= log.largestAppend else {
                throw .badMutation(
                    "Mutation of \(mutations.count) bytes is too large for the maximum size of \(log.largestAppend)")
            }
            try log.checkWritable()
        }
        let areSeveral = MutationReader.containsSeveralMutations(mutations)
        if areSeveral { try checkTables(mutations) }
        // With several tables: skip mutations of a table dropped since the check, because the others are already in
        // memory.
        try put(mutations, from: nil, skipsUnknown: areSeveral)
        try core.log?.append(mutations)
        if core.activeBytes.load(ordering: .relaxed) >= core.options.memtableBytes / 2 { scheduleFlush() }
    }

    /// Puts mutations into memtables. During replay (`position` is not nil), skips tables that already have this
    /// position in their sstables.
    @inline(__always) private func put(
        _ mutations: UnsafeRawBufferPointer, from position: LogPosition?, skipsUnknown: Bool
    ) throws(StorageError) {
        var reader = MutationReader(mutations)
        do {
            while try reader.nextTable() {
                guard let table = table(reader.table) else {
                    if skipsUnknown { continue }
                    throw StorageError.unknownTable(reader.table)
                }
                if let position, position < table.flushed { continue }
                var grown = 0
                defer {
                    if grown > 0 {
                        table.memoryBytes.add(grown, ordering: .relaxed)
                        core.memoryBytes.add(grown, ordering: .relaxed)
                        core.activeBytes.add(grown, ordering: .relaxed)
                    }
                }
                while let operation = try reader.nextOperation() {
                    switch operation {
                    case .row(let key, let row):
                        guard row.count > 0 else { throw StorageError.badMutation("an empty row") }
                        grown += table.shard(of: key).put(key: key, row: row)
                    case .deleteRange(let start, let end, let deletion):
                        grown += table.shard(of: start).delete(
                            RangeTombstone(start: [UInt8](start), end: [UInt8](end), deletion: deletion))
                    }
                }
                table.writeCount.add(1, ordering: .relaxed)
            }
        } catch let error as StorageError {
            throw error
        } catch {
            throw .badMutation("mutation bytes do not parse: \(error)")
        }
    }

    /// Throws unless every table of the mutations exists: a batch is applied whole or not at all.
    @inline(never) private func checkTables(_ mutations: UnsafeRawBufferPointer) throws(StorageError) {
        var reader = MutationReader(mutations)
        do {
            while try reader.nextTable() {
                if table(reader.table) == nil { throw StorageError.unknownTable(reader.table) }
            }
        } catch let error as StorageError {
            throw error
        } catch {
            throw .badMutation("mutation bytes do not parse: \(error)")
        }
    }

    /// Waits until memtables have room again: a thread, or the fiber that writes.
    @inline(never) private func waitForMemory() throws(StorageError) {
        scheduleFlush()
        // While flushes fail, waiting would only block threads that could serve reads.
        if isFlushFailing.load(ordering: .relaxed) {
            throw .overloaded("memtable_space is used up and flushes fail: \(failure ?? "disk error")")
        }
        let began = core.time.monotonicNanoseconds()
        var rounds = 0
        while isOutOfMemory {
            rounds += 1
            if isFlushFailing.load(ordering: .relaxed) || rounds > StorageEngine.mostMemoryWaits
                || core.time.monotonicNanoseconds() &- began > StorageEngine.longestMemoryWait
            {
                let why = failure.map { ": " + $0 } ?? ""
                throw .overloaded("writes arrive faster than they can be flushed, and memtable_space is used up\(why)")
            }
            core.background.wait { resume in
                let isFirst = memoryWaiters.withLock { waiters in
                    waiters.append(resume)
                    return waiters.count == 1
                }
                if isFirst { lookAtMemoryLater() }
                // A flush may have ended before this writer was in the list.
                if !isOutOfMemory { wakeMemoryWaiters() }
            }
        }
    }

    private var isOutOfMemory: Bool { core.memoryBytes.load(ordering: .relaxed) >= core.options.memtableBytes }

    /// How often a write may find that others took the memory that became free.
    private static let mostMemoryWaits = 10_000
    /// Nanoseconds after which a write that waits for memory is refused.
    private static let longestMemoryWait: UInt64 = 5_000_000_000

    /// Lets those that wait for memory look at the time now and then.
    private func lookAtMemoryLater() {
        core.background.run(.control) { [self] in
            core.background.sleep(nanoseconds: 100_000_000)
            wakeMemoryWaiters()
        }
    }

    private func wakeMemoryWaiters() {
        let waiters = memoryWaiters.withLock { waiters in
            defer { waiters = [] }
            return waiters
        }
        for resume in waiters { resume() }
    }

    /// Hands everything appended to the commit log to the kernel. Acknowledge only after it.
    public func flushLog() throws(StorageError) { try core.log?.flush() }

    /// Returns once everything appended to the commit log is on disk.
    public func syncLog() throws(StorageError) { try core.log?.sync() }

    func forget(_ bytes: Int, of table: TableStore, active: Bool) {
        guard bytes > 0 else { return }
        table.memoryBytes.subtract(bytes, ordering: .relaxed)
        core.memoryBytes.subtract(bytes, ordering: .relaxed)
        if active { core.activeBytes.subtract(bytes, ordering: .relaxed) }
        if !isOutOfMemory { wakeMemoryWaiters() }
    }

    // MARK: Flushing

    /// Starts a background flush of the table with the most memtable bytes, unless one is already queued.
    private func scheduleFlush() {
        if flushQueued.exchange(true, ordering: .acquiring) { return }
        core.background.run(.flush) { [self] in
            flushQueued.store(false, ordering: .releasing)
            guard
                let table = allTables.max(by: {
                    $0.memoryBytes.load(ordering: .relaxed) < $1.memoryBytes.load(ordering: .relaxed)
                })
            else { return }
            do {
                try flush(table)
                isFlushFailing.store(false, ordering: .relaxed)
                noteFailure(nil)
            } catch {
                isFlushFailing.store(true, ordering: .relaxed)
                noteFailure("flush of \(table.directory): \(error)")
                core.background.sleep(nanoseconds: 200_000_000)
            }
        }
    }

    /// Flushes a table's memtables to a new sstable.
    public func flush(_ table: TableStore) throws(StorageError) {
        try table.flushing.withLockTyped { (_) throws(StorageError) in try self.flushLocked(table) }
        releaseLog()
        scheduleCompaction(table)
    }

    private func flushLocked(_ table: TableStore) throws(StorageError) {
        // Read before freezing: every write logged before this position is in a memtable that is frozen below.
        let bound = core.log?.position ?? .start
        let began = core.time.monotonicNanoseconds()
        var frozen: [Memtable] = []
        for shard in table.shards {
            let waiting = shard.snapshot().frozen
            if let memtable = shard.freeze(position: core.log?.position ?? .start) {
                core.activeBytes.subtract(memtable.reservedBytes, ordering: .relaxed)
            } else if waiting.isEmpty {
                continue
            }
            frozen += shard.snapshot().frozen
        }
        if frozen.isEmpty || table.isDropped.load(ordering: .relaxed) { return }
        let id = core.newSSTableNumber()
        let path = table.directory + "/" + Manifest.sstableFileName(id)
        let writer = try SSTableWriter(
            system: core.system, path: path, options: table.options.files, createdAt: core.time.wallMicroseconds(),
            sources: 0)
        do throws(StorageError) {
            for shard in table.shards {
                let memtables = shard.snapshot().frozen
                if memtables.isEmpty { continue }
                let sources = memtables.map {
                    ReadSource(MemtableCursor($0, shard: nil, range: .all, direction: .forward))
                }
                let scan = MergeScan(sources: sources, shadows: [], direction: .forward, scratch: ReadScratch())
                try scan.run(purge: nil) { (key, row) throws(StorageError) in
                    try writer.add(key: key, row: row.bytes)
                    return true
                }
                for tombstone in TombstoneMerge.merged(memtables.flatMap { $0.deletions.all() }) {
                    try writer.addTombstone(tombstone)
                }
            }
            if writer.isEmpty {
                writer.abandon()
                try table.install(flushed: nil, upTo: bound, dropping: frozen)
            } else {
                _ = try writer.finish()
                do { try core.system.syncDirectory(table.directory) } catch { throw .file(error) }
                let sstable = try SSTable(system: core.system, path: path, id: id, cache: core.cache)
                try table.install(flushed: sstable, upTo: bound, dropping: frozen)
            }
        } catch {
            table.discard(id, writer)
            throw error
        }
        table.flushCount.add(1, ordering: .relaxed)
        core.observer(
            .flushed(
                directory: table.directory, rows: frozen.reduce(0) { $0 + $1.rowCount }, bytes: writer.byteCount,
                milliseconds: Int((core.time.monotonicNanoseconds() - began) / 1_000_000)))
        for memtable in frozen { forget(memtable.reservedBytes, of: table, active: false) }
    }

    /// Flushes all tables.
    public func flushAll() throws(StorageError) { for table in allTables { try flush(table) } }

    /// Releases the part of the commit log that no memtable needs. When the log is still too long, flushes the table
    /// that holds it back.
    func releaseLog() {
        guard let log = core.log else { return }
        // Read before the tables are visited: a memtable that gets its first write meanwhile begins at or after this
        // position.
        var needed = log.position
        var oldest: TableStore?
        for table in allTables {
            if let since = table.dirtySince(), since < needed {
                needed = since
                oldest = table
            }
        }
        log.release(before: needed)
        if log.totalBytes > core.options.log.totalBytes, let oldest, !isClosed.load(ordering: .relaxed) {
            core.background.run(.flush) { [self] in
                do { try flush(oldest) } catch { noteFailure("flush of \(oldest.directory): \(error)") }
            }
        }
    }

    // MARK: Start and end

    /// Replays the commit log into the memtables and opens it for writing. Call once, after all tables are opened.
    ///
    /// A record that is not a valid mutation is set aside and reported to the observer (`CommitLogReplay`).
    @discardableResult public func start() throws(StorageError) -> ReplayReport {
        guard core.options.hasLog else { return ReplayReport() }
        let directory = directory + "/commitlog"
        let replay = CommitLogReplay(system: core.system, directory: directory, options: core.options.log)
        let report = try replay.run { (position, bytes) throws(StorageError) in
            // Validated whole before any of it is applied. Other writes are not: the coordinator's own bytes are valid,
            // and those of other nodes were validated when they arrived.
            do throws(ByteError) { try MutationReader.validate(bytes) } catch {
                throw .badMutation("the record does not parse: \(error)")
            }
            try self.put(bytes, from: position, skipsUnknown: true)
            if self.core.memoryBytes.load(ordering: .relaxed) >= self.core.options.memtableBytes / 2 {
                try self.flushForReplay()
            }
        }
        for record in report.rejected { core.observer(.failed(record.text)) }
        try replay.seal(report)
        // Start above every segment named by a manifest as flushed, even one that was never written or is gone: a new
        // segment with that number would be skipped by the next replay.
        let named = max(report.segments.max() ?? 0, allTables.reduce(0) { max($0, $1.flushed.segment) })
        core.setLog(
            try CommitLog(
                system: core.system, directory: directory, options: core.options.log,
                existing: report.segments.filter { report.keeps($0) },
                after: named, unlogged: core.unlogged))
        if !report.skipped.isEmpty { try flushAll() }
        releaseLog()
        return report
    }

    /// Flushes the largest table to free memory during replay. The manifest's `flushed` is not raised, because replay
    /// goes on.
    private func flushForReplay() throws(StorageError) {
        guard
            let table = allTables.max(by: {
                $0.memoryBytes.load(ordering: .relaxed) < $1.memoryBytes.load(ordering: .relaxed)
            })
        else {
            return
        }
        try flush(table)
    }

    /// Flushes all tables and closes the commit log, so that the next start has nothing to replay.
    public func close() throws(StorageError) {
        isClosed.store(true, ordering: .relaxed)
        compactionState.withLock { $0.isStopped = true }
        do { try flushAll() } catch {
            try core.log?.close()  // what could not be flushed must be in the log on disk
            throw error
        }
        try core.log?.close()
    }

    /// Closes without flushing memtables; the next start replays the commit log.
    public func closeQuickly() throws(StorageError) {
        isClosed.store(true, ordering: .relaxed)
        compactionState.withLock { $0.isStopped = true }
        try core.log?.close()
    }
}
