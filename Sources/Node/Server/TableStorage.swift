import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage

/// Keeps the storage engine in step with the schema.
///
/// A table's storage is created before the metadata version that adds the table is stored, and removed after a version
/// without it is stored. A crash in between leaves an unused directory, which the next start removes.
struct TableStorage: Sendable {
    let engine: StorageEngine

    static func directoryName(_ table: TableMetadata) -> String {
        table.keyspace + "/" + table.name + "-" + table.id.description.filter { $0 != "-" }
    }

    /// The keyspace and the table from a directory name.
    static func tableName(ofDirectory name: String) -> (keyspace: String, name: String) {
        let parts = name.split(separator: "/", maxSplits: 1)
        let table = parts.last ?? ""
        return (String(parts.first ?? ""), String(table[..<(table.lastIndex(of: "-") ?? table.endIndex)]))
    }

    /// Opens the storage of every table in a schema, and of the node's own tables.
    func open(_ schema: Schema) throws(StorageError) {
        try PaxosAcceptor.open(engine)
        try BatchLog.open(engine)
        for table in TableStorage.stored(schema) {
            try engine.openTable(
                table.id, name: TableStorage.directoryName(table), options: TableStoreOptions(table.options))
        }
    }

    private static func stored(_ schema: Schema) -> [TableMetadata] {
        schema.sortedKeyspaces.flatMap { $0.sortedTables.filter { !$0.isVirtual } }
    }

    /// Removes the directories that a crash left of tables not in the schema.
    func removeLeftovers(_ schema: Schema) {
        engine.removeLeftovers(
            tables: Set(
                TableStorage.stored(schema).map { TableStorage.directoryName($0) } + [
                    PaxosAcceptor.directoryName, BatchLog.directoryName,
                ]),
            keyspaces: Set(schema.sortedKeyspaces.map(\.name) + ["system"]))
    }

    /// Creates storage for new tables: for all of them, or for none and throws.
    func create(_ tables: [TableMetadata]) throws {
        do {
            for table in tables where engine.table(table.id) == nil {
                try engine.createTable(
                    table.id, name: TableStorage.directoryName(table), options: TableStoreOptions(table.options))
            }
        } catch {
            takeBack(tables)
            throw error
        }
    }

    func takeBack(_ tables: [TableMetadata]) {
        for table in tables where engine.table(table.id) != nil {
            do { try engine.dropTable(table.id) } catch {
                engine.report("files of a table that was not created remain: \(error)")
            }
        }
    }
}
