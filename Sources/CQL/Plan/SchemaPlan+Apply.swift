import DataModel
import Primitives

extension SchemaPlan {
    /// Applies the statement to a schema.
    /// - Parameters:
    ///   - newTableID: the id of a created table, unless the statement specifies one.
    ///   - datacenters: the data centers of the cluster, to which `replication_factor` of NetworkTopologyStrategy
    ///     applies.
    /// - Throws: AlreadyExists, Invalid and configuration errors as Cassandra 4.1 reports them.
    public func apply(to schema: Schema, newTableID: UUID, datacenters: [String] = ["datacenter1"]) throws(ServerError)
        -> SchemaOutcome
    {
        let unchanged = SchemaOutcome(schema: schema, change: nil, droppedTables: [], warnings: [])
        switch self {
        case .createKeyspace(let name, let replication, let durableWrites, let sloppyQuorum, let ifNotExists):
            if schema.keyspace(name) != nil {
                if ifNotExists { return unchanged }
                throw ServerError(
                    .alreadyExists, "Cannot add existing keyspace \"\(name)\"",
                    detail: .alreadyExists(keyspace: name, table: ""))
            }
            let keyspace = KeyspaceMetadata(
                name: name, replication: try Self.expanded(replication, datacenters, name),
                durableWrites: durableWrites,
                sloppyQuorum: sloppyQuorum)
            return SchemaOutcome(schema.setting(keyspace), .created, .keyspace, name)
        case .alterKeyspace(let name, let replication, let durableWrites, let sloppyQuorum, let ifExists):
            guard let keyspace = schema.keyspace(name) else {
                if ifExists { return unchanged }
                throw .invalid("Keyspace '\(name)' doesn't exist")
            }
            var expanded: [String: String]?
            if let replication { expanded = try Self.expanded(replication, datacenters, name) }
            return SchemaOutcome(
                schema.setting(
                    keyspace.altered(replication: expanded, durableWrites: durableWrites, sloppyQuorum: sloppyQuorum)),
                .updated,
                .keyspace, name)
        case .dropKeyspace(let name, let ifExists):
            guard let keyspace = schema.keyspace(name) else {
                if ifExists { return unchanged }
                throw .invalid("Keyspace '\(name)' doesn't exist")
            }
            return SchemaOutcome(
                schema.removing(keyspace: name), .dropped, .keyspace, name, dropped: keyspace.sortedTables)
        case .createTable(let definition, let ifNotExists):
            guard let keyspace = schema.keyspace(definition.keyspace) else {
                throw .invalid("Keyspace '\(definition.keyspace)' doesn't exist")
            }
            if keyspace.tables[definition.name] != nil {
                if ifNotExists { return unchanged }
                throw ServerError(
                    .alreadyExists,
                    "Cannot add already existing table \"\(definition.name)\" to keyspace \"\(definition.keyspace)\"",
                    detail: .alreadyExists(keyspace: definition.keyspace, table: definition.name))
            }
            let id = definition.id ?? newTableID
            if let other = schema.tables[id] {
                throw .invalid("The id \(id) already belongs to table \(other.qualifiedName)")
            }
            let table = TableMetadata(
                keyspace: definition.keyspace, name: definition.name, id: id, columns: definition.columns,
                options: definition.options)
            return SchemaOutcome(schema.setting(table), .created, .table, definition.keyspace, definition.name)
        case .alterTable(let keyspace, let name, let alteration, let ifExists):
            guard let table = schema.table(keyspace, name) else {
                if ifExists { return unchanged }
                throw .invalid("Table '\(keyspace).\(name)' doesn't exist")
            }
            let altered = try alteration.apply(to: table)
            return SchemaOutcome(schema.setting(altered), .updated, .table, keyspace, name)
        case .dropTable(let keyspace, let name, let ifExists):
            guard let table = schema.table(keyspace, name) else {
                if ifExists { return unchanged }
                throw .invalid("Table '\(keyspace).\(name)' doesn't exist")
            }
            return SchemaOutcome(
                schema.removing(table: name, in: keyspace), .dropped, .table, keyspace, name, dropped: [table])
        }
    }

    /// Expands `replication_factor` of NetworkTopologyStrategy to each data center without a factor of its own.
    private static func expanded(
        _ replication: [String: String], _ datacenters: [String], _ keyspace: String
    ) throws(ServerError) -> [String: String] {
        guard replication["class"]?.hasSuffix("NetworkTopologyStrategy") == true else { return replication }
        var result = replication
        if let factor = result.removeValue(forKey: "replication_factor") {
            for datacenter in datacenters where result[datacenter] == nil { result[datacenter] = factor }
        }
        let unknown = result.keys.filter { $0 != "class" && !datacenters.contains($0) }.sorted()
        guard unknown.isEmpty else {
            throw ServerError(
                .configError,
                "Unrecognized strategy option {\(unknown.joined(separator: ", "))} passed to NetworkTopologyStrategy for keyspace \(keyspace)"
            )
        }
        return result
    }
}

extension SchemaOutcome {
    fileprivate init(
        _ schema: Schema, _ kind: SchemaChange.Kind, _ target: SchemaChange.Target, _ keyspace: String,
        _ name: String = "",
        dropped: [TableMetadata] = []
    ) {
        self.init(
            schema: schema, change: SchemaChange(kind: kind, target: target, keyspace: keyspace, name: name),
            droppedTables: dropped,
            warnings: [])
    }
}

extension ServerError {
    static func tooManyColumns(_ count: Int) -> ServerError {
        .invalid("A table may have \(TableMetadata.columnLimit) columns, not \(count)")
    }
}

extension TableAlteration {
    func apply(to table: TableMetadata) throws(ServerError) -> TableMetadata {
        switch self {
        case .add(let columns, let ifNotExists):
            var result = table
            for column in columns {
                if result.column(named: column.name) != nil {
                    if ifNotExists { continue }
                    throw .invalid("Column with name '\(column.name)' already exists")
                }
                if column.isStatic, table.clustering.isEmpty {
                    throw .invalid(
                        "Static columns are only useful (and thus allowed) if the table has at least one clustering column"
                    )
                }
                if table.isCounter != (column.type == .counter) {
                    let isEmpty = table.statics.isEmpty && table.regulars.isEmpty
                    guard isEmpty else {
                        throw .invalid("Cannot mix counter and non counter columns in the same table")
                    }
                }
                result = result.adding(column: column.name, type: column.type, isStatic: column.isStatic)
            }
            guard result.columns.count <= TableMetadata.columnLimit else {
                throw .tooManyColumns(result.columns.count)
            }
            return result
        case .drop(let names, let ifExists):
            var result = table
            for name in names {
                guard let column = result.column(named: name) else {
                    if ifExists { continue }
                    throw .invalid("Column \(name) was not found in table '\(table.qualifiedName)'")
                }
                if column.isPrimaryKey { throw .invalid("Cannot drop PRIMARY KEY column \(name)") }
                result = result.dropping(column: name)
            }
            return result
        case .rename(let renames):
            var columns = table.columns
            for (from, to) in renames {
                guard let index = columns.firstIndex(where: { $0.name == from }) else {
                    throw .invalid("Column \(from) was not found in table '\(table.qualifiedName)'")
                }
                guard columns[index].isPrimaryKey else {
                    throw .invalid("Cannot rename non PRIMARY KEY column \(from)")
                }
                if columns.contains(where: { $0.name == to }) {
                    throw .invalid(
                        "Cannot rename column \(from) to \(to) in table '\(table.qualifiedName)'; another column with that name already exists"
                    )
                }
                columns[index].name = to
            }
            return table.altered(columns: columns)
        case .options(let properties):
            var options = table.options
            try options.set(properties)
            if table.isCounter, options.defaultTimeToLive > 0 {
                throw .invalid("Cannot set default_time_to_live on a table with counters")
            }
            return table.altered(options: options)
        }
    }
}
