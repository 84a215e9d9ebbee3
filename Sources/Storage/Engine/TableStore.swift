import DataModel
import Platform
import Primitives
import Synchronization

/// One table of the database: its shards and sstables.
///
/// **Thread safety**: all methods, from any thread. Lock order: `flushing`, `version`, a shard.
public final class TableStore: Sendable {
    /// The sstables, as the manifest names them.
    struct Version {
        var tables: [SSTable]
        var flushed: LogPosition
        /// Numbers of the sstables that a compaction is reading.
        var busy: Set<UInt32> = []
    }

    public let id: UUID
    public let directory: String
    let engine: EngineCore
    let shards: [Shard]
    let version: Mutex<Version>
    /// Allows one flush of the table at a time.
    let flushing = Mutex<Void>(())
    private let optionsState: Mutex<TableStoreOptions>
    let isDropped = Atomic<Bool>(false)
    let memoryBytes = Atomic<Int>(0)
    public let writeCount = Atomic<Int>(0)
    public let readCount = Atomic<Int>(0)
    public let flushCount = Atomic<Int>(0)
    public let compactionCount = Atomic<Int>(0)

    public var options: TableStoreOptions {
        get { optionsState.withLock { $0 } }
        set { optionsState.withLock { $0 = newValue } }
    }

    /// Opens a table's directory, created if missing: reads the manifest, opens its sstables, removes sstables the
    /// manifest does not name.
    init(id: UUID, directory: String, options: TableStoreOptions, engine: EngineCore) throws(StorageError) {
        self.id = id
        self.directory = directory
        self.engine = engine
        optionsState = Mutex(options)
        let system = engine.system
        do {
            if !system.exists(directory) {
                try system.createDirectory(directory)
                if let slash = directory.lastIndex(of: "/") { try system.syncDirectory(String(directory[..<slash])) }
            }
        } catch { throw .file(error) }
        let manifest = try TableStore.manifest(system, directory: directory, position: engine.log?.position ?? .start)
        var tables: [SSTable] = []
        for id in manifest.tables {
            tables.append(
                try SSTable(
                    system: system, path: directory + "/" + Manifest.sstableFileName(id), id: id, cache: engine.cache))
        }
        do {
            for name in try system.list(directory) {
                let isStrayTable = Manifest.sstableNumber(name).map { !manifest.tables.contains($0) } ?? false
                if isStrayTable || name.hasSuffix(".tmp") { try system.remove(directory + "/" + name) }
            }
        } catch { throw .file(error) }
        for id in manifest.tables { engine.reserveSSTableNumber(id) }
        version = Mutex(Version(tables: tables, flushed: manifest.flushed))
        let position = engine.log?.position ?? .start
        let count = engine.options.shards
        let bits = count.trailingZeroBitCount
        shards = (0..<count).map { index in
            func edge(_ index: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: index << (8 - bits))] }
            let start = index == 0 ? [] : edge(index)
            let end = index == count - 1 ? KeyRange.all.end : edge(index + 1)
            return Shard(range: KeyRange(start: start, end: end), position: position, tables: SSTableSet(tables))
        }
    }

    deinit {
        // A write concurrent with a drop may have left bytes in a memtable.
        for shard in shards {
            let (active, frozen) = shard.clear(position: .start, tables: SSTableSet([]))
            engine.activeBytes.subtract(active, ordering: .relaxed)
            engine.memoryBytes.subtract(active + frozen, ordering: .relaxed)
        }
    }

    /// Reads the manifest of a table's directory. Writes an empty one for a new table, so that a missing manifest later
    /// means damage and not an empty table.
    /// - Parameter position: the current log position, used as `flushed` of a new table: earlier log records with its
    ///   id belong to a dropped table.
    private static func manifest(_ system: any FileSystem, directory: String, position: LogPosition)
        throws(StorageError) -> Manifest
    {
        let path = directory + "/" + Manifest.fileName
        if system.exists(path) { return try Manifest.read(system, directory: directory) }
        let names: [String]
        do { names = try system.list(directory) } catch { throw .file(error) }
        if let file = names.first(where: { Manifest.sstableNumber($0) != nil }) {
            throw .damaged(path: path, offset: 0, "the manifest is missing, but there are sstables such as \(file)")
        }
        var manifest = Manifest()
        manifest.flushed = position
        try manifest.write(system, directory: directory)
        return manifest
    }

    /// The shard of a key: by the first bits of its token.
    @inline(__always) func shard(of key: UnsafeRawBufferPointer) -> Shard { shards[shardIndex(of: key)] }

    @inline(__always) func shardIndex(of key: UnsafeRawBufferPointer) -> Int {
        key.count > 0 ? (Int(key[0]) * shards.count) >> 8 : 0
    }

    /// Bytes held by the table's memtables.
    public var memtableBytes: Int { memoryBytes.load(ordering: .relaxed) }

    /// The sstables, latest timestamp first. Read from a shard, whose lock is never held over I/O.
    public var tables: [SSTable] { shards[0].snapshot().tables.tables }

    var flushed: LogPosition { version.withLock { $0.flushed } }

    func dirtySince() -> LogPosition? {
        var first: LogPosition?
        for shard in shards { if let since = shard.dirtySince() { first = min(first ?? since, since) } }
        return first
    }

    /// Adds the sstable a flush wrote and drops the memtables it replaces; nil when nothing was left to write.
    func install(flushed table: SSTable?, upTo position: LogPosition, dropping memtables: [Memtable])
        throws(StorageError)
    {
        _ = try change(flushed: position, dropping: memtables) { tables in
            if let table { tables.append(table) }
            return true
        }
    }

    /// Adds sstables that were written elsewhere, all in one step.
    /// - Returns: false when the table was dropped meanwhile.
    func install(imported added: [SSTable]) throws(StorageError) -> Bool {
        // Takes the flush lock, which dropping the table takes too.
        try flushing.withLockTyped { (_) throws(StorageError) -> Bool in
            if self.isDropped.load(ordering: .relaxed) { return false }
            return try self.change(flushed: nil, dropping: []) { tables in
                tables += added
                return true
            }
        }
    }

    /// Removes files that could not be installed, except those the manifest on disk names: the manifest may have been
    /// renamed although syncing its directory failed.
    func discard(_ paths: [String]) {
        do throws(StorageError) {
            let named = try Manifest.read(engine.system, directory: directory).tables.map {
                directory + "/" + Manifest.sstableFileName($0)
            }
            for path in paths where !named.contains(path) {
                do { try engine.system.remove(path) } catch {}  // a stray file is removed at the next start
            }
        } catch { return }  // the manifest may name them; a stray file is removed at the next start
    }

    /// Replaces the inputs of a compaction by its output; `merged` is nil when nothing was left.
    /// - Returns: false when an input is gone, because the table was dropped meanwhile; the output is then not
    ///   installed.
    func replace(_ inputs: [SSTable], with merged: SSTable?) throws(StorageError) -> Bool {
        try change(flushed: nil, dropping: []) { tables in
            guard inputs.allSatisfy({ input in tables.contains { $0 === input } }) else { return false }
            tables.removeAll { table in inputs.contains { $0 === table } }
            if let merged { tables.append(merged) }
            return true
        }
    }

    /// Removes all sstables, and these frozen memtables.
    func removeFiles(dropping memtables: [Memtable]) throws(StorageError) {
        _ = try change(flushed: nil, dropping: memtables) { tables in
            tables = []
            return true
        }
    }

    /// Changes the set of sstables in one step: writes the manifest, then updates every shard.
    /// - Parameter edit: returns false to leave everything unchanged.
    private func change(
        flushed: LogPosition?, dropping memtables: [Memtable], _ edit: (inout [SSTable]) -> Bool
    ) throws(StorageError) -> Bool {
        let removed = try version.withLockTyped { (version) throws(StorageError) -> [SSTable]? in
            var tables = version.tables
            guard edit(&tables) else { return nil }
            var manifest = Manifest()
            manifest.flushed = max(version.flushed, flushed ?? version.flushed)
            manifest.tables = tables.map(\.id)
            try manifest.write(self.engine.system, directory: self.directory)
            let gone = version.tables.filter { old in !tables.contains { $0 === old } }
            version.flushed = manifest.flushed
            version.tables = tables
            version.busy.subtract(gone.map(\.id))
            for shard in self.shards { shard.install(SSTableSet(tables), dropping: memtables) }
            return gone
        }
        for table in removed ?? [] { table.retire() }
        return removed != nil
    }

    /// Removes an sstable that could not be installed, unless the manifest on disk names it: the manifest may have been
    /// renamed although syncing its directory failed.
    func discard(_ id: UInt32, _ writer: SSTableWriter) {
        do {
            if try Manifest.read(engine.system, directory: directory).tables.contains(id) { return }
        } catch { return }  // the manifest may name it; a stray file is removed at the next start
        writer.abandon()
    }
}
