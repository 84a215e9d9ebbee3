extension KeyspaceMetadata {
    /// The statement that recreates the keyspace, as DESCRIBE of Cassandra 4.1 writes it.
    public var createStatement: String {
        var text = "CREATE KEYSPACE \(Identifier.quoted(name)) WITH replication = {'class': "
        text += Identifier.stringLiteral(replicationClass)
        for (key, value) in replication.sorted(by: { $0.key < $1.key }) where key != "class" {
            text += ", \(Identifier.stringLiteral(key)): \(Identifier.stringLiteral(value))"
        }
        return text + "}  AND durable_writes = \(durableWrites)" + (sloppyQuorum ? " AND sloppy_quorum = true;" : ";")
    }

    /// The replication strategy without its Java package.
    public var replicationClass: String {
        let name = replication["class"] ?? "SimpleStrategy"
        return name.split(separator: ".").last.map(String.init) ?? name
    }
}

extension TableMetadata {
    /// The statement that recreates the table, as DESCRIBE of Cassandra 4.1 writes it.
    public var createStatement: String { createStatement(includingID: false) }

    /// - Parameters:
    ///   - includingID: whether to include `ID = ...`, as DESCRIBE ... WITH INTERNALS does.
    ///   - inOrderOfID: whether to list the columns in the order of their ids, so that a table created by the
    ///     statement gets the same ids.
    public func createStatement(includingID: Bool, inOrderOfID: Bool = false) -> String {
        let columns = inOrderOfID ? self.columns.sorted { $0.id < $1.id } : self.columns
        var text = "CREATE TABLE \(Identifier.quoted(keyspace)).\(Identifier.quoted(name)) (\n"
        let isInline = partitionKey.count == 1 && clustering.isEmpty
        for (index, column) in columns.enumerated() {
            text += "    \(Identifier.quoted(column.name)) \(column.type)"
            if column.isStatic { text += " static" }
            if isInline && column.kind == .partitionKey { text += " PRIMARY KEY" }
            if !isInline || index + 1 < columns.count { text += "," }
            text += "\n"
        }
        if !isInline {
            var parts = clustering.map { Identifier.quoted($0.name) }
            let partition = partitionKey.map { Identifier.quoted($0.name) }.joined(separator: ", ")
            parts.insert(partitionKey.count > 1 ? "(\(partition))" : partition, at: 0)
            text += "    PRIMARY KEY (\(parts.joined(separator: ", ")))\n"
        }
        text += ") WITH "
        if includingID { text += "ID = \(id)\n    AND " }
        if !clustering.isEmpty {
            let order = clustering.map { "\(Identifier.quoted($0.name)) \($0.isDescending ? "DESC" : "ASC")" }
            text += "CLUSTERING ORDER BY (\(order.joined(separator: ", ")))\n    AND "
        }
        return text + options.describe(isVirtual: isVirtual) + ";"
    }
}
