import DataModel
import Primitives

/// Validates a statement against a schema and creates its plan.
public struct Planner {
    let schema: Schema
    /// The keyspace for unqualified names.
    let keyspace: String?
    let markerNames: [String?]
    /// The column or other receiver of each bind marker, once resolved.
    var markers: [ColumnSpec?]
    /// The columns and aggregates that the SELECT being planned reads.
    var scope = SelectionScope()
    var warnings: [String] = []
    /// Calls of `now()` and its like so far.
    var generatedCalls = 0
    /// The table whose partition key `token()` takes, where no columns may be named.
    var tokenTable: TableMetadata?

    /// Parses and plans a statement.
    /// - Throws: errors as Cassandra 4.1 reports them.
    public static func plan(_ text: String, schema: Schema, keyspace: String?) throws(ServerError) -> PlannedStatement {
        try plan(try Parser.parse(text), schema: schema, keyspace: keyspace)
    }

    public static func plan(_ parsed: ParsedStatement, schema: Schema, keyspace: String?) throws(ServerError)
        -> PlannedStatement
    {
        var planner = Planner(schema: schema, keyspace: keyspace, markerNames: parsed.markers)
        let plan = try planner.plan(parsed.statement)
        var variables: [ColumnSpec] = []
        for (index, marker) in planner.markers.enumerated() {
            guard let marker else {
                throw .invalid("The type of marker \(index + 1) could not be inferred; use a cast to force one")
            }
            variables.append(marker)
        }
        return PlannedStatement(
            plan: plan, bindVariables: variables, partitionKeyIndexes: partitionKeyIndexes(plan),
            warnings: planner.warnings,
            schemaVersion: schema.version)
    }

    private init(schema: Schema, keyspace: String?, markerNames: [String?]) {
        self.schema = schema
        self.keyspace = keyspace
        self.markerNames = markerNames
        markers = Array(repeating: nil, count: markerNames.count)
    }

    private mutating func plan(_ statement: Statement) throws(ServerError) -> Plan {
        switch statement {
        case .select(let select): return .select(try self.select(select))
        case .modification(let modification): return .modification(try self.modification(modification, inBatch: nil))
        case .batch(let batch): return .batch(try self.batch(batch))
        case .use(let name):
            guard schema.keyspace(name) != nil else { throw .invalid("Keyspace '\(name)' does not exist") }
            return .use(keyspace: name)
        case .truncate(let name):
            let table = try table(name)
            try Self.refuseSystem(table.keyspace)
            return .truncate(table)
        case .describe(let describe):
            return .describe(try self.describe(describe))
        case .refused(let refused): throw ServerError(refused.code, refused.message)
        case .createKeyspace, .alterKeyspace, .dropKeyspace, .createTable, .alterTable, .dropTable:
            return .schema(try schemaPlan(statement))
        }
    }

    // MARK: Names

    func keyspaceName(_ name: QualifiedName) throws(ServerError) -> String {
        guard let keyspace = name.keyspace ?? keyspace else {
            throw .invalid("No keyspace has been specified. USE a keyspace, or explicitly specify keyspace.tablename")
        }
        return keyspace
    }

    func table(_ name: QualifiedName) throws(ServerError) -> TableMetadata {
        let keyspaceName = try keyspaceName(name)
        guard let keyspace = schema.keyspace(keyspaceName) else {
            throw .invalid("keyspace \(keyspaceName) does not exist")
        }
        guard let table = keyspace.tables[name.name] else { throw .invalid("table \(name.name) does not exist") }
        return table
    }

    static func column(_ name: String, in table: TableMetadata) throws(ServerError) -> ColumnMetadata {
        guard let column = table.column(named: name) else {
            throw .invalid("Undefined column name \(Identifier.quoted(name)) in table \(table.qualifiedName)")
        }
        return column
    }

    static func refuseSystem(_ keyspace: String) throws(ServerError) {
        if Schema.isSystem(keyspace) {
            throw ServerError(.unauthorized, "\(keyspace.lowercased()) keyspace is not user-modifiable.")
        }
    }

    private static func partitionKeyIndexes(_ plan: Plan) -> [Int] {
        func indexes(_ restrictions: [KeyRestriction]) -> [Int] {
            var indexes: [Int] = []
            for restriction in restrictions {
                guard case .equal(let term) = restriction, let index = term.bindIndex else { return [] }
                indexes.append(index)
            }
            return indexes
        }
        switch plan {
        case .select(let select):
            if case .keys(let restrictions) = select.partition { return indexes(restrictions) }
            return []
        case .modification(let modification): return indexes(modification.partition)
        case .batch(let batch):
            guard let first = batch.statements.first, batch.statements.allSatisfy({ $0.table.id == first.table.id })
            else { return [] }
            return indexes(first.partition)
        case .schema, .use, .truncate, .describe: return []
        }
    }
}

/// The target of a term: its name for messages and bind markers, and its required type.
struct Receiver {
    var keyspace: String
    var table: String
    var name: String
    var type: CQLType

    init(_ column: ColumnMetadata, in table: TableMetadata) {
        self.init(keyspace: table.keyspace, table: table.name, name: column.name, type: column.type)
    }

    init(keyspace: String, table: String, name: String, type: CQLType) {
        self.keyspace = keyspace
        self.table = table
        self.name = name
        self.type = type
    }

    /// Returns a receiver in the same table with another name and type.
    func with(name: String, type: CQLType) -> Receiver {
        Receiver(keyspace: keyspace, table: table, name: name, type: type)
    }
}

/// What a SELECT reads from each row; collected while its selectors are resolved.
struct SelectionScope {
    /// Nil where columns may not be named, as in VALUES.
    var table: TableMetadata?
    var columns: [ColumnMetadata] = []
    var aggregates: [Aggregate] = []
    var isInsideAggregate = false
    private var indexes: [String: Int] = [:]

    /// Returns the index of the column among the fetched columns, adding it if necessary.
    mutating func index(of column: ColumnMetadata) -> Int {
        if let known = indexes[column.name] { return known }
        indexes[column.name] = columns.count
        columns.append(column)
        return columns.count - 1
    }
}
