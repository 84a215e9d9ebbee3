import Coordinator
import DataModel
import NativeProtocol
import Platform
import Primitives
import Query
import Storage
import Synchronization

/// Keeps the schema on the disk and the storage engine in step with it.
///
/// The schema's file is replaced in one synced step. A table's storage is made before the schema that names it is written, and removed after the one
/// that does not: a crash between leaves a directory that nothing names, which the next start removes (`removeLeftovers`).
final class StorageHost: SchemaHost {
    private let system: any FileSystem
    private let engine: StorageEngine
    private let directory: String
    private let events: EventHub
    private let slowRequests = SlowRequestLog()
    /// What the schema's file should hold.
    private let stored = Mutex<[UInt8]>([])

    static let fileName = "schema"

    init(system: any FileSystem, engine: StorageEngine, directory: String, events: EventHub) {
        self.system = system
        self.engine = engine
        self.directory = directory
        self.events = events
    }

    /// The schema of a data directory; an empty one is written where there is none.
    /// - Throws: `schema` when it cannot be read, or is missing beside tables: an empty one would forget them, and what the log has of them.
    static func read(_ system: any FileSystem, directory: String) throws(NodeError) -> Schema {
        let path = directory + "/" + fileName
        guard system.exists(path) else {
            let data = directory + "/data"
            let tables: [String]
            do { tables = system.exists(data) ? try system.list(data) : [] } catch { throw .file(error) }
            if let name = tables.first {
                throw .schema(
                    "\(path) is missing, though there are tables in \(data)/\(name); restore it from a copy that names all of them: "
                        + "the files of those it does not name are removed")
            }
            do { try system.replace(path, with: Schema().encode(), directory: directory) } catch { throw .file(error) }
            return Schema()
        }
        do { return try Schema(decoding: try system.readAll(path)) } catch {
            throw .schema("\(path) cannot be read: \(error); restore it from a copy")
        }
    }

    static func directoryName(_ table: TableMetadata) -> String {
        table.keyspace + "/" + table.name + "-" + table.id.description.filter { $0 != "-" }
    }

    /// Opens the storage of every table of a schema.
    func open(_ schema: Schema) throws(StorageError) {
        stored.withLock { $0 = schema.encode() }
        for keyspace in schema.sortedKeyspaces {
            for table in keyspace.tables.values where !table.isVirtual {
                try engine.openTable(table.id, name: StorageHost.directoryName(table), options: TableStoreOptions(table.options))
            }
        }
    }

    /// Removes what a crash left of tables that are not in the schema.
    func removeLeftovers(_ schema: Schema) {
        let keyspaces = schema.sortedKeyspaces
        engine.removeLeftovers(
            tables: Set(keyspaces.flatMap { $0.tables.values.map { StorageHost.directoryName($0) } }), keyspaces: Set(keyspaces.map(\.name))
        )
    }

    func store(_ schema: Schema, created: [TableMetadata], altered: [TableMetadata]) throws(ServerError) {
        do {
            for table in created {
                try engine.createTable(table.id, name: StorageHost.directoryName(table), options: TableStoreOptions(table.options))
            }
            let bytes = schema.encode()
            try system.replace(directory + "/" + StorageHost.fileName, with: bytes, directory: directory)
            stored.withLock { $0 = bytes }
        } catch {
            takeBack(created)
            throw ServerError(.serverError, "the schema could not be stored and is unchanged: \(error)")
        }
        for table in altered { engine.table(table.id)?.options = TableStoreOptions(table.options) }
    }

    /// After a change was refused: the file may have been replaced all the same, when only its directory could not be synced. A start that found there what was
    /// refused would lack a table that goes on being written, and remove its files.
    private func takeBack(_ created: [TableMetadata]) {
        let path = directory + "/" + StorageHost.fileName
        let bytes = stored.withLock { $0 }
        do {
            if try system.readAll(path) != bytes { try system.replace(path, with: bytes, directory: directory) }
            for table in created { try engine.dropTable(table.id) }
        } catch { engine.report("\(path) may hold a change of the schema that was refused; change the schema again to write it: \(error)") }
    }

    func dropped(_ tables: [TableMetadata]) {
        for table in tables {
            do { try engine.dropTable(table.id) } catch {
                engine.report("files of the dropped table \(table.keyspace).\(table.name) remain: \(error)")
            }
        }
    }

    func slow(_ statement: String, milliseconds: Int) {
        if let line = slowRequests.line(statement, milliseconds: milliseconds, second: HybridClock.systemMicroseconds() / 1_000_000) {
            NodeLog.line(line)
        }
    }

    func announce(_ change: SchemaChange) { events.announce(.schema(change)) }
}
