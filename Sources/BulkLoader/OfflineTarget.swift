import struct Client.DescribedColumn
import struct Client.DescribedTable
import DataModel
import LinuxPlatform
import Messages
import Platform
import Primitives
import Query
import Storage
import Synchronization

/// Where a load without a server goes: finished tables in a directory, written by the node's own query and storage engines.
///
/// 1. The table is what a schema file says, or what the data ask for.
/// 2. Records are executed as the INSERTs they are; their mutations are put in order in memory.
/// 3. When that is full it becomes a file; the chunks whose rows are in it are then acknowledged, so that an interrupted load goes on there.
/// 4. `finish` writes the rest and takes the mark of an unfinished directory away.
///
/// **Thread safety**: any thread; `define`, `open` and `finish` from one.
final class OfflineTarget: Sendable {
    private struct Books {
        var lock: (any File)?
        var writer: OfflineTableWriter?
        /// Chunks whose rows are in memory.
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

    /// Reads the schema; writes nothing yet.
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
                throw .schema("\(path) holds an interrupted load of \(found.table.qualifiedName); remove it, or take another directory")
            }
            if let wanted = wanted?.table(options.keyspace, options.table), wanted.columns != found.table.columns {
                throw .schema("\(path) holds an interrupted load of another \(found.table.qualifiedName); remove it to begin anew")
            }
        }
        // What is in the directory already is numbered by its own schema.
        engine = SchemaScript.engine(found.map { Schema(keyspaces: [$0.keyspace]) } ?? wanted ?? Schema(), port)
        if let table, table.isCounter {
            throw .schema(
                "\(table.qualifiedName) is a counter table: a counter belongs to the node that counts, load it into a running one")
        }
    }

    /// The table of a directory that an interrupted load left; nil when there is nothing yet.
    private static func unfinished(
        _ directory: OfflineDirectory
    ) throws(LoadError) -> (keyspace: KeyspaceMetadata, table: TableMetadata)? {
        do throws(StorageError) {
            if try directory.isEmpty() { return nil }
            if directory.isUnfinished { return try directory.table() }
        } catch { throw .input(error.description) }
        throw .input("\(directory.path) is not empty; --to-sstables takes a new directory, or that of an interrupted load")
    }

    /// The table; nil when the data are still to say what it is.
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

    /// Makes the table that the data ask for.
    func define(_ create: String) throws(LoadError) {
        do throws(ServerError) { try SchemaScript(engine: engine).execute(create, keyspace: nil) } catch { throw .schema(error.message) }
    }

    /// Opens the directory for the table, once.
    func open() throws(LoadError) {
        if isDryRun { return }
        guard let table, let keyspace = engine.schema.keyspace(keyspace) else {
            throw .schema("there is no table \(keyspace).\(name); --create or --schema says what it is")
        }
        if books.withLock({ $0.writer != nil }) { return }
        do throws(StorageError) {
            let lock = try directory.begin()
            let known = try directory.table()
            if known == nil { try directory.describe(keyspace, table) }
            let writer = try OfflineTableWriter(
                system: system, time: SystemTime(), directory: directory.path, id: table.id, options: TableStoreOptions(table.options))
            books.withLock { books in
                books.lock = lock
                books.writer = writer
            }
            port.open(writer)
        } catch { throw .input(error.description) }
    }

    /// Notes a chunk all of whose rows are in memory, and writes a file when that is full.
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

    /// Writes what is in memory and acknowledges its chunks.
    func flush(_ ledger: LoadLedger) throws(LoadError) {
        guard let writer = books.withLock({ $0.writer }) else { return }
        try flushing.withLock { (_) throws(LoadError) in try flush(writer, ledger) }
    }

    private func flush(_ writer: OfflineTableWriter, _ ledger: LoadLedger) throws(LoadError) {
        let chunks = books.withLock { books in
            defer { books.waiting = [] }
            return books.waiting
        }
        do { try writer.flush() } catch { throw .input("no file could be written: \(error)") }
        for (chunk, rows) in chunks { ledger.complete(chunk, rows: rows, now: 0) }
        ledger.save()
    }

    /// Ends a load that is whole.
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

    /// Files, bytes and rows of the directory.
    var written: (files: Int, bytes: Int, rows: Int) { books.withLock { $0.writer }?.written ?? (0, 0, 0) }
}

/// The storage behind the query engine of a load without a server: takes mutations, has nothing to read.
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
        throw .storage("nothing can be read")
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (RowView) -> Void) throws(ReplicaError) {
        throw .storage("nothing can be read")
    }
}
