import DataModel
import Platform

/// What a directory of tables made without a node says of itself, beside its manifest and files.
///
///     schema      the keyspace with the one table, in the form in which a node keeps its own
///     schema.cql  the statements that make both, columns in the order of their numbers
///     LOADING     while more files may come; locked by the process that writes them
public struct OfflineDirectory: Sendable {
    public static let schemaName = "schema"
    public static let statementsName = "schema.cql"
    public static let markerName = "LOADING"
    /// Of the files that say what the table is.
    static let names: Set<String> = [schemaName, statementsName]

    public let path: String
    private let system: any FileSystem

    public init(system: any FileSystem, path: String) {
        self.system = system
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    }

    /// Whether somebody began to write files and has not ended.
    public var isUnfinished: Bool { system.exists(path + "/" + OfflineDirectory.markerName) }

    /// Whether there is nothing in it, or it does not exist.
    public func isEmpty() throws(StorageError) -> Bool {
        guard system.exists(path) else { return true }
        do { return try system.list(path).isEmpty } catch { throw .file(error) }
    }

    /// Marks the directory, made when missing, as unfinished.
    /// - Returns: the lock, to be handed to `end`.
    /// - Throws: `locked` when another process writes into it.
    public func begin() throws(StorageError) -> any File {
        do {
            try system.createDirectory(path)
            let lock = try system.lock(path + "/" + OfflineDirectory.markerName)
            try system.syncDirectory(path)
            return lock
        } catch { throw .file(error) }
    }

    /// Marks it as finished: may be imported.
    public func end(_ lock: any File) throws(StorageError) {
        do {
            try system.remove(path + "/" + OfflineDirectory.markerName)
            try system.syncDirectory(path)
        } catch { throw .file(error) }
        lock.close()
    }

    /// Writes what the table is.
    public func describe(_ keyspace: KeyspaceMetadata, _ table: TableMetadata) throws(StorageError) {
        let alone = KeyspaceMetadata(
            name: keyspace.name, replication: keyspace.replication, durableWrites: keyspace.durableWrites,
            sloppyQuorum: keyspace.sloppyQuorum, tables: [table.name: table])
        let statements = alone.createStatement + "\n\n" + table.createStatement(includingID: true, inOrderOfNumber: true) + "\n"
        do {
            try system.replace(
                path + "/" + OfflineDirectory.statementsName, with: Array(statements.utf8), directory: path)
            try system.replace(
                path + "/" + OfflineDirectory.schemaName, with: Schema(keyspaces: [alone]).encode(), directory: path)
        } catch { throw .file(error) }
    }

    /// The table its files are of; nil when nothing says so.
    /// - Throws: when what says so cannot be read.
    public func table() throws(StorageError) -> (keyspace: KeyspaceMetadata, table: TableMetadata)? {
        let file = path + "/" + OfflineDirectory.schemaName
        guard system.exists(file) else { return nil }
        let bytes: [UInt8]
        do { bytes = try system.readAll(file) } catch { throw .file(error) }
        let schema: Schema
        do { schema = try Schema(decoding: bytes) } catch { throw .damaged(path: file, offset: 0, "it is no schema: \(error)") }
        guard let keyspace = schema.sortedKeyspaces.first, let table = keyspace.sortedTables.first, schema.tables.count == 1 else {
            return nil
        }
        return (keyspace, table)
    }
}
