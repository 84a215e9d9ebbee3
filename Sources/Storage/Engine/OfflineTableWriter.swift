import DataModel
import Platform
import Primitives

/// Builds a table's sstables without a node and without a commit log, in a directory of their own.
///
/// Mutations are sorted in memory; `flush` writes them as one sstable and names it in the directory's manifest. A node
/// can use the directory as a table's directory or import it.
/// **Thread safety**: all methods, from any thread.
public final class OfflineTableWriter: Sendable {
    private let engine: StorageEngine
    private let store: TableStore

    /// Opens a directory, created if missing; sstables its manifest does not name are removed.
    public init(
        system: any FileSystem, time: any TimeSource, directory: String, id: UUID, options: TableStoreOptions
    ) throws(StorageError) {
        var whole = StorageOptions()
        whole.hasLog = false
        whole.shards = 1
        // The caller decides when to flush.
        whole.memtableBytes = .max
        var table = options
        table.compaction = nil
        let core = EngineCore(system: system, time: time, background: InlineBackground(), options: whole)
        do { try system.createDirectory(directory) } catch { throw .file(error) }
        store = try TableStore(id: id, directory: directory, options: table, engine: core)
        engine = StorageEngine(core: core, directory: directory, table: store)
    }

    /// Applies encoded mutations of the table in memory.
    public func apply(_ mutations: UnsafeRawBufferPointer) throws(StorageError) { try engine.apply(mutations) }

    /// Bytes held in memory.
    public var memoryBytes: Int { store.memtableBytes }

    /// Writes everything applied so far to an sstable; durable and in the manifest when this returns.
    public func flush() throws(StorageError) { try engine.flush(store) }

    /// The sstables written so far: their number, total bytes and total rows.
    public var written: (files: Int, bytes: Int, rows: Int) {
        let tables = store.tables
        return (tables.count, tables.reduce(0) { $0 + $1.fileBytes }, tables.reduce(0) { $0 + $1.statistics.rowCount })
    }
}
