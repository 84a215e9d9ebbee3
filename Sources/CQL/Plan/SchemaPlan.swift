import DataModel
import Primitives

/// A validated schema statement. Existence of keyspaces and tables is checked when it is applied, against the schema at
/// that time.
public enum SchemaPlan: Sendable {
    case createKeyspace(
        name: String, replication: [String: String], durableWrites: Bool, sloppyQuorum: Bool, ifNotExists: Bool)
    case alterKeyspace(
        name: String, replication: [String: String]?, durableWrites: Bool?, sloppyQuorum: Bool?, ifExists: Bool)
    case dropKeyspace(name: String, ifExists: Bool)
    case createTable(TableDefinition, ifNotExists: Bool)
    case alterTable(keyspace: String, name: String, TableAlteration, ifExists: Bool)
    case dropTable(keyspace: String, name: String, ifExists: Bool)
}

/// The table defined by a CREATE TABLE statement, without an assigned id.
public struct TableDefinition: Sendable {
    public var keyspace: String
    public var name: String
    /// With ids 0, 1, ... in order.
    public var columns: [ColumnMetadata]
    public var options: TableOptions
    /// `WITH ID = ...`.
    public var id: UUID?

    public init(keyspace: String, name: String, columns: [ColumnMetadata], options: TableOptions, id: UUID? = nil) {
        self.keyspace = keyspace
        self.name = name
        self.columns = columns
        self.options = options
        self.id = id
    }
}

/// The change of an ALTER TABLE statement.
public enum TableAlteration: Sendable {
    public struct AddedColumn: Sendable {
        public var name: String
        public var type: CQLType
        public var isStatic: Bool
    }

    case add([AddedColumn], ifNotExists: Bool)
    case drop([String], ifExists: Bool)
    case rename([(from: String, to: String)])
    case options([(name: String, value: PropertyValue)])
}

/// The result of applying a schema statement.
public struct SchemaOutcome: Sendable {
    public var schema: Schema
    /// Nil when nothing changed (for example IF NOT EXISTS with an existing table).
    public var change: SchemaChange?
    /// The tables that were dropped, for the storage engine.
    public var droppedTables: [TableMetadata]
    public var warnings: [String]
}
