import DataModel

/// The answer to a DESCRIBE statement: text columns.
public struct DescribeAnswer: Sendable {
    public let metadata: ResultMetadata
    public let rows: [[String]]
}

extension DescribePlan {
    /// Computes the rows of the answer.
    /// - Throws: Invalid when the keyspace or table does not exist.
    public func answer(schema: Schema, clusterName: String, partitioner: String, snitch: String) throws(ServerError)
        -> DescribeAnswer
    {
        switch subject {
        case .cluster:
            return DescribeAnswer(
                metadata: Self.metadata(["cluster", "partitioner", "snitch"]),
                rows: [[clusterName, partitioner, snitch]])
        case .keyspaces: return Self.names(schema.sortedKeyspaces.map { ($0.name, "keyspace", $0.name) })
        case .tables(let keyspace):
            return Self.names(
                try Self.keyspaces(schema, keyspace).flatMap { keyspace in
                    keyspace.sortedTables.map { (keyspace.name, "table", $0.name) }
                }
            )
        case .types(let keyspace), .functions(let keyspace), .aggregates(let keyspace):
            _ = try Self.keyspaces(schema, keyspace)
            return Self.names([])
        case .schema(let full):
            let keyspaces = schema.sortedKeyspaces.filter { full || !Schema.isSystem($0.name) }
            return statements(keyspaces.flatMap { described($0) })
        case .keyspace(let name, let onlyKeyspace):
            guard let keyspace = schema.keyspace(name) else { throw .invalid("'\(name)' not found in keyspaces") }
            return statements(onlyKeyspace ? [row(keyspace)] : described(keyspace))
        case .table(let keyspace, let name):
            guard let table = try Self.keyspaces(schema, keyspace).first?.tables[name] else {
                throw .invalid("Table '\(name)' not found in keyspace '\(keyspace)'")
            }
            return statements([row(table)])
        case .any(let keyspace, let name):
            if keyspace == nil, let found = schema.keyspace(name) { return statements(described(found)) }
            guard let keyspace = keyspace ?? keyspaceInUse else { throw .invalid("'\(name)' not found in keyspaces") }
            guard let table = try Self.keyspaces(schema, keyspace).first?.tables[name] else {
                throw .invalid("'\(name)' not found in keyspace '\(keyspace)'")
            }
            return statements([row(table)])
        }
    }

    private static func keyspaces(_ schema: Schema, _ name: String?) throws(ServerError) -> [KeyspaceMetadata] {
        guard let name else { return schema.sortedKeyspaces }
        guard let keyspace = schema.keyspace(name) else { throw .invalid("'\(name)' not found in keyspaces") }
        return [keyspace]
    }

    private static func metadata(_ names: [String]) -> ResultMetadata {
        ResultMetadata(columns: names.map { ColumnSpec(keyspace: "system", table: "describe", name: $0, type: .text) })
    }

    private static func names(_ rows: [(String, String, String)]) -> DescribeAnswer {
        DescribeAnswer(
            metadata: metadata(["keyspace_name", "type", "name"]),
            rows: rows.map { [Identifier.quoted($0.0), $0.1, Identifier.quoted($0.2)] })
    }

    private func statements(_ rows: [[String]]) -> DescribeAnswer {
        DescribeAnswer(metadata: Self.metadata(["keyspace_name", "type", "name", "create_statement"]), rows: rows)
    }

    private func described(_ keyspace: KeyspaceMetadata) -> [[String]] {
        [row(keyspace)] + keyspace.sortedTables.map { row($0) }
    }

    private func row(_ keyspace: KeyspaceMetadata) -> [String] {
        let name = Identifier.quoted(keyspace.name)
        return [
            name, "keyspace", name,
            keyspace.isVirtual ? "/*\n\(keyspace.createStatement)\n*/" : keyspace.createStatement,
        ]
    }

    private func row(_ table: TableMetadata) -> [String] {
        let text = table.createStatement(includingID: withInternals)
        return [
            Identifier.quoted(table.keyspace), "table", Identifier.quoted(table.name),
            table.isVirtual ? "/*\n\(text)\n*/" : text,
        ]
    }
}
