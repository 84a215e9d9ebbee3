import struct Client.DescribedColumn
import struct Client.DescribedTable
import Coordinator
import DataModel
import LinuxPlatform
import Messages
import Platform
import Primitives
import Query
import Storage
import Synchronization

/// The target of a load without a server: a directory of sstables, written by the node's own query and storage engines.
///
/// 1. The table is defined by a schema file or inferred from the data.
/// 2. Records are executed as INSERTs; their mutations are sorted in memory.
/// 3. When `sortBytes` are collected, they become an sstable, and the chunks whose rows it holds are acknowledged. An
///    interrupted load continues after them.
/// 4. `finish` removes the mark of an unfinished directory. The last rows must have been flushed.
///
/// **Thread safety**: any thread; `define`, `open` and `finish` from one.
final class OfflineTarget: Sendable {
    private struct Books {
        var lock: (any File)?
        var writer: OfflineTableWriter?
        /// Chunks whose rows are only in memory.
        var waiting: [(chunk: RecordChunk.Place, rows: Int)] = []
    }

    let keyspace: String
    let name: String
    private let directory: OfflineDirectory
    private let sortBytes: Int
    private let isDryRun: Bool
    private let system = PosixFileSystem()
    private let port: OfflinePort
    let engine: QueryEngine
    private let books = Mutex(Books())
    private let flushing = Mutex<Void>(())

    /// Reads the schema. Writes nothing yet.
    init(_ options: LoadOptions, directory path: String) throws(LoadError) {
        keyspace = options.keyspace
        name = options.table
        sortBytes = options.sortBytes
        isDryRun = options.isDryRun
        directory = OfflineDirectory(system: system, path: path)
        port = OfflinePort()
        let files = system
        let wanted = try options.schemaFile.map { (path) throws(LoadError) in
            try SchemaScript.schema(path, system: files, keyspace: options.keyspace, table: options.table)
        }
        let found = try OfflineTarget.unfinished(directory)
        if let found {
            guard found.table.keyspace == keyspace, found.table.name == name else {
                throw .schema(
                    "\(path) holds an interrupted load of \(found.table.qualifiedName); remove it or use another directory"
                )
            }
            if let wanted = wanted?.table(options.keyspace, options.table), wanted.columns != found.table.columns {
                throw .schema(
                    "\(path) holds an interrupted load of \(found.table.qualifiedName) with other columns; remove it to start over"
                )
            }
        }
        // The mutations already in the directory use the identifiers of its own schema.
        engine = SchemaScript.engine(found.map { Schema(keyspaces: [$0.keyspace]) } ?? wanted ?? Schema(), port)
        if let table, table.isCounter {
            throw .schema(
                "\(table.qualifiedName) is a counter table: counters cannot be written without a node; load them into a running one"
            )
        }
    }

    /// Returns the table of a directory that an interrupted load left; nil when the directory is empty or missing.
    private static func unfinished(
        _ directory: OfflineDirectory
    ) throws(LoadError) -> (keyspace: KeyspaceMetadata, table: TableMetadata)? {
        do throws(StorageError) {
            if try directory.isEmpty() { return nil }
            if directory.isUnfinished { return try directory.table() }
        } catch { throw .input(error.description) }
        throw .input(
            "\(directory.path) is not empty; --to-sstables takes a new directory, or that of an interrupted load")
    }

    /// The table; nil until it is inferred from the data.
    var table: TableMetadata? { engine.schema.table(keyspace, name) }

    var described: DescribedTable? {
        guard let table else { return nil }
        return DescribedTable(
            keyspace: keyspace, name: name,
            columns: table.columns.map { column in
                let kind: DescribedColumn.Kind =
                    switch column.kind {
                    case .partitionKey: .partitionKey
                    case .clustering: .clustering
                    case .static: .static
                    case .regular: .regular
                    }
                return DescribedColumn(name: column.name, type: column.type, kind: kind, position: column.position)
            })
    }

    /// Creates the table inferred from the data.
    func define(_ create: String) throws(LoadError) {
        do throws(ServerError) { try SchemaScript(engine: engine).execute(create, keyspace: nil) } catch {
            throw .schema(error.message)
        }
    }

    /// Opens the directory for the table; does nothing when it is open.
    func open() throws(LoadError) {
        if isDryRun { return }
        guard let table, let keyspace = engine.schema.keyspace(keyspace) else {
            throw .schema("there is no table \(keyspace).\(name); define it with --create or --schema")
        }
        if books.withLock({ $0.writer != nil }) { return }
        do throws(StorageError) {
            let lock = try directory.begin()
            let known = try directory.table()
            if known == nil { try directory.describe(keyspace, table) }
            let writer = try OfflineTableWriter(
                system: system, time: SystemTime(), directory: directory.path, id: table.id,
                options: TableStoreOptions(table.options))
            books.withLock { books in
                books.lock = lock
                books.writer = writer
            }
            port.open(writer)
        } catch { throw .input(error.description) }
    }

    /// Records that a chunk's rows are in memory, and flushes them when `sortBytes` are reached.
    func took(_ chunk: RecordChunk.Place, rows: Int, _ ledger: LoadLedger) throws(LoadError) {
        let writer = books.withLock { books in
            books.waiting.append((chunk, rows))
            return books.writer
        }
        guard let writer, writer.memoryBytes >= sortBytes else { return }
        try flushing.withLock { (_) throws(LoadError) in
            if writer.memoryBytes >= sortBytes { try flush(writer, ledger) }
        }
    }

    /// Writes the rows in memory to an sstable and acknowledges their chunks.
    func flush(_ ledger: LoadLedger) throws(LoadError) {
        guard let writer = books.withLock({ $0.writer }) else { return }
        try flushing.withLock { (_) throws(LoadError) in try flush(writer, ledger) }
    }

    private func flush(_ writer: OfflineTableWriter, _ ledger: LoadLedger) throws(LoadError) {
        let chunks = books.withLock { books in
            defer { books.waiting = [] }
            return books.waiting
        }
        do { try writer.flush() } catch { throw .input("cannot write an sstable: \(error)") }
        for (chunk, rows) in chunks { ledger.complete(chunk, rows: rows, now: 0) }
        ledger.save()
    }

    /// Marks the directory as complete.
    func finish() throws(LoadError) {
        if isDryRun { return }
        let lock = books.withLock { books in
            defer {
                books.lock = nil
                books.writer = nil
            }
            return books.lock
        }
        port.close()
        guard let lock else { return }
        do { try directory.end(lock) } catch { throw .input(error.description) }
    }

    /// The number of sstables, bytes and rows written to the directory.
    var written: (files: Int, bytes: Int, rows: Int) { books.withLock { $0.writer }?.written ?? (0, 0, 0) }
}

/// The storage behind the query engine of a load without a server: accepts writes, refuses reads.
final class OfflinePort: ReplicaPort {
    private let writer = Mutex<OfflineTableWriter?>(nil)

    func open(_ writer: OfflineTableWriter) { self.writer.withLock { $0 = writer } }
    func close() { writer.withLock { $0 = nil } }

    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        guard let writer = writer.withLock({ $0 }) else { throw .storage("the directory is not open") }
        do { try writer.apply(mutations.out.bytes) } catch { throw .storage(error.description) }
    }

    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        throw .storage("counters belong to the node that counts")
    }

    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError) {
        throw .storage("conditions need a node")
    }

    func scan(
        table: UUID, range: KeyRange, reversed: Bool, _ visit: (UnsafeRawBufferPointer, RowView) -> ScanStep
    ) throws(ReplicaError) {
        throw .storage("data cannot be read without a node")
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (RowView) -> Void) throws(ReplicaError) {
        throw .storage("nothing can be read")
    }
}
