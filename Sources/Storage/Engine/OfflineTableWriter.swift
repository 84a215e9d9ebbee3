import DataModel
import Platform
import Primitives

/// Builds a table's files without a node and without a commit log, in a directory of their own.
///
/// Mutations are put in order in memory; `flush` writes what is there as one file and names it in the directory's manifest. The directory is one that
/// a node can have as a table's, or import.
/// **Thread safety**: all methods, from any thread.
public final class OfflineTableWriter: Sendable {
    private let engine: StorageEngine
    private let store: TableStore

    /// Opens a directory, made when missing; files that its manifest does not name are removed.
    public init(
        system: any FileSystem, time: any TimeSource, directory: String, id: UUID, options: TableStoreOptions
    ) throws(StorageError) {
        var whole = StorageOptions()
        whole.hasLog = false
        whole.shards = 1
        // Its user says when to flush.
        whole.memtableBytes = .max
        var table = options
        table.compaction = nil
        let core = EngineCore(system: system, time: time, background: InlineBackground(), options: whole)
        do { try system.createDirectory(directory) } catch { throw .file(error) }
        store = try TableStore(id: id, directory: directory, options: table, engine: core)
        engine = StorageEngine(core: core, directory: directory, table: store)
    }

    /// Puts encoded mutations of the table into memory.
    public func apply(_ mutations: UnsafeRawBufferPointer) throws(StorageError) { try engine.apply(mutations) }

    /// Bytes held in memory.
    public var memoryBytes: Int { store.memtableBytes }

    /// Writes what was applied before the call to a file; when it returns, it is on the disk and in the manifest.
    public func flush() throws(StorageError) { try engine.flush(store) }

    /// The files so far: how many, and the sums of their bytes and rows.
    public var written: (files: Int, bytes: Int, rows: Int) {
        let tables = store.tables
        return (tables.count, tables.reduce(0) { $0 + $1.fileBytes }, tables.reduce(0) { $0 + $1.statistics.rowCount })
    }
}
