import DataModel

extension DescribePlan {
    /// Computes the answer: text columns and rows, as cqlsh prints them.
    /// - Throws: Invalid when the keyspace or table does not exist.
    public func answer(
        schema: Schema, clusterName: String, partitioner: String, snitch: String
    ) throws(ServerError) -> (columns: [String], rows: [[String]]) {
        switch subject {
        case .cluster: return (["cluster", "partitioner", "snitch"], [[clusterName, partitioner, snitch]])
        case .keyspaces: return names(schema.sortedKeyspaces.map { ($0.name, "keyspace", $0.name) })
        case .tables(let name):
            let keyspaces = try name.map { (name) throws(ServerError) in [try keyspace(name, schema)] }
            return names(
                (keyspaces ?? schema.sortedKeyspaces).flatMap { keyspace in
                    keyspace.sortedTables.map { (keyspace.name, "table", $0.name) }
                })
        case .types(let name), .functions(let name), .aggregates(let name):
            if let name { _ = try keyspace(name, schema) }
            return names([])
        case .schema(let full):
            return statements((full ? schema.sortedKeyspaces : schema.userKeyspaces).flatMap(whole))
        case .keyspace(let name, let onlyKeyspace):
            let keyspace = try keyspace(name, schema)
            return statements(onlyKeyspace ? [row(keyspace)] : whole(keyspace))
        case .table(let keyspaceName, let name):
            let keyspace = try keyspace(keyspaceName, schema)
            guard let table = keyspace.tables[name] else {
                throw .invalid("Table '\(name)' not found in keyspace '\(keyspaceName)'")
            }
            return statements([row(table, keyspace)])
        case .any(let keyspaceName, let name):
            if keyspaceName == nil || keyspaceName == keyspaceInUse, let keyspace = schema.keyspace(name) {
                return statements(whole(keyspace))
            }
            guard let keyspaceName = keyspaceName ?? keyspaceInUse else {
                throw .invalid("'\(name)' not found in keyspaces")
            }
            let keyspace = try keyspace(keyspaceName, schema)
            guard let table = keyspace.tables[name] else {
                throw .invalid("'\(name)' not found in keyspace '\(keyspaceName)'")
            }
            return statements([row(table, keyspace)])
        }
    }

    private func keyspace(_ name: String, _ schema: Schema) throws(ServerError) -> KeyspaceMetadata {
        guard let keyspace = schema.keyspace(name) else { throw .invalid("'\(name)' not found in keyspaces") }
        return keyspace
    }

    private func names(_ rows: [(String, String, String)]) -> (columns: [String], rows: [[String]]) {
        (["keyspace_name", "type", "name"], rows.map { [Identifier.quoted($0.0), $0.1, Identifier.quoted($0.2)] })
    }

    private func statements(_ rows: [[String]]) -> (columns: [String], rows: [[String]]) {
        (["keyspace_name", "type", "name", "create_statement"], rows)
    }

    private func whole(_ keyspace: KeyspaceMetadata) -> [[String]] {
        [row(keyspace)] + keyspace.sortedTables.map { row($0, keyspace) }
    }

    private func row(_ keyspace: KeyspaceMetadata) -> [String] {
        let statement =
            keyspace.isVirtual
            ? "/*\nWarning: Keyspace \(keyspace.name) is a virtual keyspace and cannot be recreated with CQL.\n"
                + "Structure, for reference:*/\n// VIRTUAL KEYSPACE \(keyspace.name);"
            : keyspace.createStatement
        let name = Identifier.quoted(keyspace.name)
        return [name, "keyspace", name, statement]
    }

    private func row(_ table: TableMetadata, _ keyspace: KeyspaceMetadata) -> [String] {
        var statement = table.createStatement(includingID: withInternals)
        if keyspace.isVirtual {
            statement =
                "/*\nWarning: Table \(table.qualifiedName) is a virtual table and cannot be recreated with CQL.\n"
                + "Structure, for reference:\n\(statement)\n*/"
        }
        return [Identifier.quoted(table.keyspace), "table", Identifier.quoted(table.name), statement]
    }
}
