import DataModel
import Platform

/// The description of a directory of sstables made without a node, beside its manifest and sstables.
///
///     schema      the keyspace with only this table, encoded as a node's own schema file
///     schema.cql  the statements that create both, columns in the order of their ids
///     LOADING     present while more files may be added; locked by the writing process
public struct OfflineDirectory: Sendable {
    public static let schemaName = "schema"
    public static let statementsName = "schema.cql"
    public static let markerName = "LOADING"
    /// The files that describe the table.
    static let names: Set<String> = [schemaName, statementsName]

    public let path: String
    private let system: any FileSystem

    public init(system: any FileSystem, path: String) {
        self.system = system
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }

    /// Whether a writer has begun and not finished.
    public var isUnfinished: Bool { system.exists(path + "/" + OfflineDirectory.markerName) }

    /// Whether the directory is empty or missing.
    public func isEmpty() throws(StorageError) -> Bool {
        guard system.exists(path) else { return true }
        do { return try system.list(path).isEmpty } catch { throw .file(error) }
    }

    /// Creates the directory if missing and marks it as unfinished.
    /// - Returns: the lock to pass to `end`.
    /// - Throws: `file` with `locked` when another process is writing into it.
    public func begin() throws(StorageError) -> any File {
        do {
            try system.createDirectory(path)
            let lock = try system.lock(path + "/" + OfflineDirectory.markerName)
            try system.syncDirectory(path)
            return lock
        } catch { throw .file(error) }
    }

    /// Marks the directory as finished, so that it may be imported.
    public func end(_ lock: any File) throws(StorageError) {
        do {
            try system.remove(path + "/" + OfflineDirectory.markerName)
            try system.syncDirectory(path)
        } catch { throw .file(error) }
        lock.close()
    }

    /// Writes `schema` and `schema.cql`.
    public func describe(_ keyspace: KeyspaceMetadata, _ table: TableMetadata) throws(StorageError) {
        let alone = KeyspaceMetadata(
            name: keyspace.name, replication: keyspace.replication, durableWrites: keyspace.durableWrites,
            sloppyQuorum: keyspace.sloppyQuorum, tables: [table.name: table])
        let statements =
            alone.createStatement + "\n\n" + table.createStatement(includingID: true, inOrderOfID: true) + "\n"
        do {
            try system.replace(
                path + "/" + OfflineDirectory.statementsName, with: Array(statements.utf8), directory: path)
            try system.replace(
                path + "/" + OfflineDirectory.schemaName, with: Schema(keyspaces: [alone]).encode(), directory: path)
        } catch { throw .file(error) }
    }

    /// Reads which table the files belong to; nil when there is no `schema` or it does not have exactly one table.
    /// - Throws: when `schema` cannot be read.
    public func table() throws(StorageError) -> (keyspace: KeyspaceMetadata, table: TableMetadata)? {
        let file = path + "/" + OfflineDirectory.schemaName
        guard system.exists(file) else { return nil }
        let bytes: [UInt8]
        do { bytes = try system.readAll(file) } catch { throw .file(error) }
        let schema: Schema
        do { schema = try Schema(decoding: bytes) } catch {
            throw .damaged(path: file, offset: 0, "the schema does not parse: \(error)")
        }
        guard let keyspace = schema.sortedKeyspaces.first, let table = keyspace.sortedTables.first,
            schema.tables.count == 1
        else {
            return nil
        }
        return (keyspace, table)
    }
}
