/// One column of a result.
public struct ColumnSpec: Sendable, Equatable {
    public var keyspace: String
    public var table: String
    public var name: String
    public var type: CQLType

    public init(keyspace: String, table: String, name: String, type: CQLType) {
        self.keyspace = keyspace
        self.table = table
        self.name = name
        self.type = type
    }
}

/// The columns of a result, shared by all executions of a prepared statement.
public final class ResultMetadata: Sendable {
    public let columns: [ColumnSpec]

    public init(columns: [ColumnSpec]) { self.columns = columns }
}

/// Result rows in native-protocol form: for each row and column, a 32-bit big-endian length (-1 for null) and the
/// value.
public struct ResultRows: Sendable {
    public var metadata: ResultMetadata
    public var rowCount: Int
    /// The cells of all rows in order, ready to be copied into a frame.
    public var cells: [UInt8]
    /// The position of the next page; nil on the last page.
    public var pagingState: [UInt8]?

    public init(metadata: ResultMetadata, rowCount: Int, cells: [UInt8], pagingState: [UInt8]? = nil) {
        self.metadata = metadata
        self.rowCount = rowCount
        self.cells = cells
        self.pagingState = pagingState
    }
}

/// A schema change: the body of a SCHEMA_CHANGE result or event (native_protocol_v4.spec, 4.2.5.5 and 4.2.6).
public struct SchemaChange: Sendable, Equatable {
    public enum Kind: String, Sendable { case created = "CREATED", updated = "UPDATED", dropped = "DROPPED" }
    public enum Target: String, Sendable { case keyspace = "KEYSPACE", table = "TABLE", type = "TYPE" }

    public var kind: Kind
    public var target: Target
    public var keyspace: String
    /// The table or type; empty when the target is a keyspace.
    public var name: String

    public init(kind: Kind, target: Target, keyspace: String, name: String) {
        self.kind = kind
        self.target = target
        self.keyspace = keyspace
        self.name = name
    }
}

/// The result of one statement.
public enum StatementResult: Sendable {
    case void
    case rows(ResultRows)
    case setKeyspace(String)
    case schemaChange(SchemaChange)
}
