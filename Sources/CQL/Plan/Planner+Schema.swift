import DataModel
import Primitives

extension Planner {
    mutating func schemaPlan(_ statement: Statement) throws(ServerError) -> SchemaPlan {
        switch statement {
        case .createKeyspace(let name, let ifNotExists, let properties):
            try Self.refuseSystem(name)
            guard Identifier.isValidName(name) else {
                throw ServerError(.configError, Self.invalidName("Keyspace", name))
            }
            let attributes = try ReplicationRules.attributes(properties, keyspace: name)
            guard let replication = attributes.replication else {
                throw .invalid("Missing mandatory option 'replication'")
            }
            return .createKeyspace(
                name: name, replication: replication, durableWrites: attributes.durableWrites ?? true,
                sloppyQuorum: attributes.sloppyQuorum ?? false, ifNotExists: ifNotExists)
        case .alterKeyspace(let name, let ifExists, let properties):
            try Self.refuseSystem(name)
            let attributes = try ReplicationRules.attributes(properties, keyspace: name)
            return .alterKeyspace(
                name: name, replication: attributes.replication, durableWrites: attributes.durableWrites,
                sloppyQuorum: attributes.sloppyQuorum, ifExists: ifExists)
        case .dropKeyspace(let name, let ifExists):
            try Self.refuseSystem(name)
            return .dropKeyspace(name: name, ifExists: ifExists)
        case .createTable(let create): return try createTable(create)
        case .alterTable(let alter): return try alterTable(alter)
        case .dropTable(let name, let ifExists):
            let keyspace = try keyspaceName(name)
            try Self.refuseSystem(keyspace)
            return .dropTable(keyspace: keyspace, name: name.name, ifExists: ifExists)
        case .select, .modification, .batch, .use, .truncate, .describe, .refused:
            throw ServerError(.serverError, "not a schema statement")
        }
    }

    private static func invalidName(_ what: String, _ name: String) -> String {
        "\(what) name must not be empty, more than \(Identifier.maximumLength) characters long, or contain non-alphanumeric-underscore characters (got \"\(name)\")"
    }

    // MARK: CREATE TABLE

    private mutating func createTable(_ statement: CreateTableStatement) throws(ServerError) -> SchemaPlan {
        let keyspaceName = try keyspaceName(statement.table)
        let name = statement.table.name
        try Self.refuseSystem(keyspaceName)
        guard Identifier.isValidName(name) else { throw ServerError(.configError, Self.invalidName("Table", name)) }
        if statement.isCompactStorage {
            throw .invalid("COMPACT STORAGE tables are not allowed starting with version 4.0")
        }
        var types: [String: CQLType] = [:]
        var statics: Set<String> = []
        for column in statement.columns {
            guard types[column.name] == nil else {
                throw .invalid("Duplicate column '\(column.name)' declaration for table '\(name)'")
            }
            types[column.name] = try column.type.resolved(keyspace: keyspaceName)
            if column.isStatic { statics.insert(column.name) }
        }
        guard let key = statement.primaryKeys.first else {
            throw .invalid("No PRIMARY KEY specified for table '\(keyspaceName).\(name)' (exactly one required)")
        }
        guard statement.primaryKeys.count == 1 else {
            throw .invalid("Multiple PRIMARY KEYs specified for table '\(keyspaceName).\(name)' (exactly one required)")
        }
        try checkKey(key.partition + key.clustering, types, statics, "\(keyspaceName).\(name)")
        if !statics.isEmpty, key.clustering.isEmpty {
            throw .invalid(
                "Static columns are only useful (and thus allowed) if the table has at least one clustering column")
        }
        let descending = try clusteringOrder(statement, key.clustering)
        var columns: [ColumnMetadata] = []
        for (position, column) in key.partition.enumerated() {
            columns.append(
                ColumnMetadata(
                    name: column, type: types[column] ?? .blob, kind: .partitionKey, position: position,
                    id: columns.count))
        }
        for (position, column) in key.clustering.enumerated() {
            columns.append(
                ColumnMetadata(
                    name: column, type: types[column] ?? .blob, kind: .clustering, position: position,
                    isDescending: descending.contains(column), id: columns.count))
        }
        for column in statement.columns where !columns.contains(where: { $0.name == column.name }) {
            columns.append(
                ColumnMetadata(
                    name: column.name, type: types[column.name] ?? .blob, kind: column.isStatic ? .static : .regular,
                    id: columns.count))
        }
        guard columns.count <= TableMetadata.columnLimit else { throw .tooManyColumns(columns.count) }
        let (options, id) = try options(statement.properties)
        warnOfSubstitutes(options)
        let others = columns.filter { !$0.isPrimaryKey }
        if others.contains(where: { $0.type == .counter }) {
            guard others.allSatisfy({ $0.type == .counter }) else {
                throw .invalid("Cannot mix counter and non counter columns in the same table")
            }
            if options.defaultTimeToLive > 0 {
                throw .invalid("Cannot set default_time_to_live on a table with counters")
            }
        }
        return .createTable(
            TableDefinition(keyspace: keyspaceName, name: name, columns: columns, options: options, id: id),
            ifNotExists: statement.ifNotExists)
    }

    private func checkKey(
        _ names: [String], _ types: [String: CQLType], _ statics: Set<String>, _ table: String
    ) throws(ServerError) {
        var seen: Set<String> = []
        for name in names {
            guard let type = types[name] else {
                throw .invalid("Unknown column '\(name)' referenced in PRIMARY KEY for table '\(table)'")
            }
            guard seen.insert(name).inserted else {
                throw .invalid("Duplicate column '\(name)' in PRIMARY KEY clause for table '\(table)'")
            }
            if type == .counter { throw .invalid("counter type is not supported for PRIMARY KEY column '\(name)'") }
            if type.containsDuration {
                throw .invalid("duration type is not supported for PRIMARY KEY column '\(name)'")
            }
            if type.isMultiCell {
                throw .invalid("Invalid non-frozen collection type \(type) for PRIMARY KEY column '\(name)'")
            }
            if statics.contains(name) { throw .invalid("Static column '\(name)' cannot be part of the PRIMARY KEY") }
        }
    }

    /// Returns the clustering columns stored in descending order.
    private func clusteringOrder(_ statement: CreateTableStatement, _ clustering: [String]) throws(ServerError) -> Set<
        String
    > {
        guard !statement.clusteringOrder.isEmpty else { return [] }
        let ordered = statement.clusteringOrder.map(\.column)
        let strangers = ordered.filter { !clustering.contains($0) }
        guard strangers.isEmpty else {
            throw .invalid(
                "Only clustering key columns can be defined in CLUSTERING ORDER directive: [\(strangers.joined(separator: ", "))] are not clustering columns"
            )
        }
        guard ordered.count >= clustering.count else {
            let missing = clustering.filter { !ordered.contains($0) }
            throw .invalid(
                "Missing CLUSTERING ORDER for column\(missing.count > 1 ? "s" : "") \(missing.joined(separator: ", "))")
        }
        guard ordered == clustering else {
            throw .invalid(
                "The order of columns in the CLUSTERING ORDER directive must match that of the clustering columns (\(clustering.joined(separator: ", ")))"
            )
        }
        return Set(statement.clusteringOrder.filter(\.isDescending).map(\.column))
    }

    private func options(_ properties: [Property]) throws(ServerError) -> (TableOptions, UUID?) {
        var options = TableOptions()
        var id: UUID?
        var rest: [(name: String, value: PropertyValue)] = []
        for property in properties {
            guard property.name == "id" else {
                rest.append((property.name, property.value))
                continue
            }
            guard case .text(let text) = property.value, let value = UUID(text) else {
                throw ServerError(.configError, "Invalid table id")
            }
            id = value
        }
        try options.set(rest)
        return (options, id)
    }

    /// Some options are accepted and kept in the schema, but something else is done.
    private mutating func warnOfSubstitutes(_ options: TableOptions) {
        if options.compression.isEnabled, options.compression.compressor == .deflate {
            warnings.append(
                "DeflateCompressor is not available: the table's files are compressed with LZ4Compressor instead")
        }
        let strategy = options.compaction.strategy
        if strategy != .sizeTiered {
            warnings.append(
                "\(strategy.rawValue) is not available: the table is compacted by SizeTieredCompactionStrategy instead")
        }
    }

    // MARK: ALTER TABLE

    private mutating func alterTable(_ statement: AlterTableStatement) throws(ServerError) -> SchemaPlan {
        let keyspaceName = try keyspaceName(statement.table)
        try Self.refuseSystem(keyspaceName)
        let alteration: TableAlteration
        switch statement.change {
        case .alterType: throw .invalid("Altering column types is no longer supported")
        case .dropCompactStorage:
            throw .invalid("Cannot DROP COMPACT STORAGE on table \(keyspaceName).\(statement.table.name): it has none")
        case .add(let columns, let ifNotExists):
            var added: [TableAlteration.AddedColumn] = []
            for column in columns {
                if added.contains(where: { $0.name == column.name }) {
                    throw .invalid("Column with name '\(column.name)' already exists")
                }
                added.append(
                    .init(
                        name: column.name, type: try column.type.resolved(keyspace: keyspaceName),
                        isStatic: column.isStatic))
            }
            alteration = .add(added, ifNotExists: ifNotExists)
        case .drop(let columns, let ifExists): alteration = .drop(columns, ifExists: ifExists)
        case .rename(let renames, _): alteration = .rename(renames)
        case .properties(let properties):
            if properties.contains(where: { $0.name == "id" }) {
                throw ServerError(.configError, "Cannot alter table id.")
            }
            let pairs = properties.map { (name: $0.name, value: $0.value) }
            // Report errors that do not depend on the table's current options right away.
            var options = TableOptions()
            try options.set(pairs)
            warnOfSubstitutes(options)
            alteration = .options(pairs)
        }
        return .alterTable(keyspace: keyspaceName, name: statement.table.name, alteration, ifExists: statement.ifExists)
    }
}
