import DataModel
import Platform
import Primitives

/// Access to the tables of a stopped node, for offline tools.
public struct OfflineTables {
    private let system: any FileSystem

    public init(system: any FileSystem) { self.system = system }

    /// Returns the paths of the sstables named in a table's manifest, oldest first.
    public func files(directory: String) throws(StorageError) -> [String] {
        try Manifest.read(system, directory: directory).tables.sorted().map {
            directory + "/" + Manifest.sstableFileName($0)
        }
    }

    public func hasManifest(_ directory: String) -> Bool { system.exists(directory + "/" + Manifest.fileName) }

    /// Opens one sstable, without a cache.
    public func open(_ path: String) throws(StorageError) -> SSTable {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return try SSTable(system: system, path: path, id: Manifest.sstableNumber(name) ?? 0, cache: nil)
    }

    /// Visits an sstable's range tombstones, then its rows, unmerged, until `row` returns false.
    public func dump(
        _ table: SSTable, tombstone: (RangeTombstone) -> Void, row: (UnsafeRawBufferPointer, RowView) -> Bool
    ) throws(StorageError) {
        let tombstones = TombstoneCursor(table, isBulk: true)
        var moreTombstones = try tombstones.seekToFirst()
        while moreTombstones {
            tombstone(try tombstones.tombstone())
            moreTombstones = try tombstones.advance()
        }
        let cursor = SSTableCursor(table, range: .all, direction: .forward, isBulk: true)
        var more = try cursor.start()
        while more {
            guard row(cursor.key, RowView(cursor.value)) else { return }
            more = try cursor.advance()
        }
    }

    /// Merges all sstables of a table into one and replaces the manifest.
    /// - Returns: the number of sstables before, and the total bytes before and after.
    public func compact(
        directory: String, id: UUID, options: TableStoreOptions, time: any TimeSource
    ) throws(StorageError) -> (files: Int, before: Int, after: Int) {
        var engine = StorageOptions()
        engine.hasLog = false
        engine.compactionBytesPerSecond = 0
        var table = options
        table.compaction = nil
        // The engine's directory is unused: the table has its own.
        let core = EngineCore(system: system, time: time, background: InlineBackground(), options: engine)
        let store = try TableStore(id: id, directory: directory, options: table, engine: core)
        let before = store.tables
        try StorageEngine(core: core, directory: directory).compactAll(store)
        return (before.count, before.reduce(0) { $0 + $1.fileBytes }, store.tables.reduce(0) { $0 + $1.fileBytes })
    }
}
