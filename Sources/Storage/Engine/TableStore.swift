import DataModel
import Platform
import Primitives
import Synchronization

/// One table of the database: its shards and files.
///
/// **Thread safety**: all methods, from any thread. Lock order: `flushing`, `version`, a shard.
public final class TableStore: Sendable {
    /// The files, as the manifest names them.
    struct Version {
        var set: SSTableSet
        var flushed: LogPosition
        /// Tables a compaction is reading.
        var busy: Set<UInt32> = []
    }

    public let id: UUID
    public let directory: String
    let engine: EngineCore
    let shards: [Shard]
    let version: Mutex<Version>
    /// One flush of a table at a time.
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

    /// Opens a table's directory, made when missing: reads the manifest, opens its tables, removes what the manifest does not name.
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
        let manifest = try Manifest.read(system, directory: directory)
        var tables: [SSTable] = []
        for id in manifest.tables {
            tables.append(try SSTable(system: system, path: directory + "/" + Manifest.tableFile(id), id: id, cache: engine.cache))
        }
        do {
            for name in try system.list(directory) {
                let isStrayTable = Manifest.tableNumber(name).map { !manifest.tables.contains($0) } ?? false
                if isStrayTable || name.hasSuffix(".tmp") { try system.remove(directory + "/" + name) }
            }
        } catch { throw .file(error) }
        for id in manifest.tables { engine.noteTableNumber(id) }
        let set = SSTableSet(tables)
        version = Mutex(Version(set: set, flushed: manifest.flushed))
        let position = engine.log?.position ?? .start
        let count = engine.options.shards
        let bits = count.trailingZeroBitCount
        shards = (0..<count).map { index in
            func edge(_ index: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: index << (8 - bits))] }
            let start = index == 0 ? [] : edge(index)
            let end = index == count - 1 ? KeyRange.all.end : edge(index + 1)
            return Shard(range: KeyRange(start: start, end: end), position: position, tables: set)
        }
    }

    /// The shard a key belongs to: by the first bits of its token.
    @inline(__always) func shard(of key: UnsafeRawBufferPointer) -> Shard {
        guard key.count > 0 else { return shards[0] }
        return shards[(Int(key[0]) * shards.count) >> 8]
    }

    /// Bytes held by the table's memtables.
    public var memtableBytes: Int { memoryBytes.load(ordering: .relaxed) }

    public var tables: [SSTable] { version.withLock { $0.set.tables } }

    var flushed: LogPosition { version.withLock { $0.flushed } }

    func dirtySince() -> LogPosition? {
        var first: LogPosition?
        for shard in shards { if let since = shard.dirtySince() { first = min(first ?? since, since) } }
        return first
    }

    /// Changes the set of files in one step: the manifest first, then every shard.
    func install(
        adding added: [SSTable], removing removed: [SSTable], flushed: LogPosition?, dropping memtables: [Memtable]
    ) throws(StorageError) {
        try version.withLockTyped { (version) throws(StorageError) in
            let gone = Set(removed.map(\.id))
            let tables = version.set.tables.filter { !gone.contains($0.id) } + added
            var manifest = Manifest()
            manifest.flushed = max(version.flushed, flushed ?? version.flushed)
            manifest.tables = tables.map(\.id)
            try manifest.write(self.engine.system, directory: self.directory)
            version.flushed = manifest.flushed
            version.set = SSTableSet(tables)
            version.busy.subtract(gone)
            for shard in self.shards { shard.install(version.set, dropping: memtables) }
        }
        for table in removed { table.retire() }
    }
}
