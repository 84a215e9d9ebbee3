import DataModel
import Primitives

/// A checked schema statement. Whether what it makes or drops exists is decided when it is applied, against the schema of that moment.
public enum SchemaPlan: Sendable {
    case createKeyspace(name: String, replication: [String: String], durableWrites: Bool, sloppyQuorum: Bool, ifNotExists: Bool)
    case alterKeyspace(name: String, replication: [String: String]?, durableWrites: Bool?, sloppyQuorum: Bool?, ifExists: Bool)
    case dropKeyspace(name: String, ifExists: Bool)
    case createTable(TableDefinition, ifNotExists: Bool)
    case alterTable(keyspace: String, name: String, TableAlteration, ifExists: Bool)
    case dropTable(keyspace: String, name: String, ifExists: Bool)
}

/// A table as CREATE TABLE defines it: all but its id.
public struct TableDefinition: Sendable {
    public var keyspace: String
    public var name: String
    /// With the ids 0, 1, ... in order.
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

/// What ALTER TABLE changes.
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

/// A schema after a statement.
public struct SchemaOutcome: Sendable {
    public var schema: Schema
    /// Nil when there was nothing to do (`IF NOT EXISTS` of what exists).
    public var change: SchemaChange?
    /// The table that was dropped or made, for the engine.
    public var droppedTables: [TableMetadata]
    public var warnings: [String]
}
