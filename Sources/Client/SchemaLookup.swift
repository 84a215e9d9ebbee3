import DataModel
import NativeProtocol

/// A column as `system_schema.columns` describes it.
public struct DescribedColumn: Sendable, Equatable {
    public enum Kind: String, Sendable { case partitionKey = "partition_key", clustering, `static`, regular }

    public var name: String
    public var type: CQLType
    public var kind: Kind
    public var position: Int

    public init(name: String, type: CQLType, kind: Kind, position: Int) {
        self.name = name
        self.type = type
        self.kind = kind
        self.position = position
    }
}

/// A table as the schema tables describe it; columns in the order of a `SELECT *`.
public struct DescribedTable: Sendable {
    public var keyspace: String
    public var name: String
    public var columns: [DescribedColumn]

    public init(keyspace: String, name: String, columns: [DescribedColumn]) {
        self.keyspace = keyspace
        self.name = name
        self.columns = columns
    }

    public var partitionKey: [DescribedColumn] { columns.filter { $0.kind == .partitionKey } }
    public var primaryKey: [DescribedColumn] { columns.filter { $0.kind == .partitionKey || $0.kind == .clustering } }
    public var qualifiedName: String { Identifier.quoted(keyspace) + "." + Identifier.quoted(name) }
}

// Queries on the schema tables.
extension Connection {
    public func keyspaceNames() throws(ClientError) -> [String] {
        try rows("SELECT keyspace_name FROM system_schema.keyspaces").rows().compactMap { $0.text(0) }
    }

    /// Returns the table; nil when it does not exist. A column of an unknown type is an error.
    public func table(keyspace: String, name: String) throws(ClientError) -> DescribedTable? {
        let query =
            "SELECT column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = "
            + "\(Identifier.stringLiteral(keyspace)) AND table_name = \(Identifier.stringLiteral(name))"
        let columns = try DescribedTable.columns(try rows(query).rows(), keyspace: keyspace, table: name)
        if columns.isEmpty { return nil }
        return DescribedTable(keyspace: keyspace, name: name, columns: columns)
    }
}

extension DescribedTable {
    /// Returns the columns described by rows of column_name, type, kind and position, in the order of a `SELECT *`.
    public static func columns(_ rows: [ResultRow], keyspace: String, table: String) throws(ClientError)
        -> [DescribedColumn]
    {
        var columns: [DescribedColumn] = []
        for row in rows {
            guard let column = row.text(0), let typeName = row.text(1), let kindName = row.text(2) else { continue }
            guard let type = CQLType.parse(typeName) else {
                throw .protocolViolation("column \(column) of \(keyspace).\(table) has the unknown type \(typeName)")
            }
            guard let kind = DescribedColumn.Kind(rawValue: kindName) else {
                throw .protocolViolation("column \(column) of \(keyspace).\(table) is of the unknown kind \(kindName)")
            }
            columns.append(DescribedColumn(name: column, type: type, kind: kind, position: Int(row.integer(3) ?? 0)))
        }
        func rank(_ column: DescribedColumn) -> (Int, Int, String) {
            switch column.kind {
            case .partitionKey: (0, column.position, "")
            case .clustering: (1, column.position, "")
            case .static: (2, 0, column.name)
            case .regular: (3, 0, column.name)
            }
        }
        columns.sort { rank($0) < rank($1) }
        return columns
    }
}
