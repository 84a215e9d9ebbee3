import CQL
import DataModel
import Primitives

/// Answers DESCRIBE with the rows that cqlsh prints.
struct DescribeExecutor {
    let schema: Schema
    let node: NodeInfo

    private struct Element {
        var keyspace: String
        var type: String
        var name: String
        var statement: String
    }

    func run(_ plan: DescribePlan) throws(ServerError) -> ResultRows {
        switch plan.subject {
        case .cluster: return cluster(plan.keyspaceInUse)
        case .keyspaces:
            return list(schema.sortedKeyspaces.map { ($0.name, "keyspace", $0.name) })
        case .tables(let keyspace):
            return list(
                try keyspaces(keyspace).flatMap { keyspace in
                    keyspace.sortedTables.map { (keyspace.name, "table", $0.name) }
                })
        case .types(let keyspace), .functions(let keyspace), .aggregates(let keyspace):
            _ = try keyspaces(keyspace)
            return list([])
        case .schema(let full):
            let wanted = schema.sortedKeyspaces.filter { full || !Schema.isSystem($0.name) }
            return elements(wanted.flatMap { whole($0, plan) })
        case .keyspace(let name, let onlyKeyspace):
            guard let keyspace = schema.keyspace(name) else { throw .invalid("'\(name)' not found in keyspaces") }
            return elements(onlyKeyspace ? [element(keyspace)] : whole(keyspace, plan))
        case .table(let keyspaceName, let name):
            guard let keyspace = schema.keyspace(keyspaceName) else {
                throw .invalid("'\(keyspaceName)' not found in keyspaces")
            }
            guard let table = keyspace.tables[name] else {
                throw .invalid("Table '\(name)' not found in keyspace '\(keyspaceName)'")
            }
            return elements([element(table, keyspace, plan)])
        case .any(let keyspaceName, let name):
            if keyspaceName == nil || keyspaceName == plan.keyspaceInUse, let keyspace = schema.keyspace(name) {
                return elements(whole(keyspace, plan))
            }
            guard let keyspaceName = keyspaceName ?? plan.keyspaceInUse else {
                throw .invalid("'\(name)' not found in keyspaces")
            }
            guard let keyspace = schema.keyspace(keyspaceName) else {
                throw .invalid("'\(keyspaceName)' not found in keyspaces")
            }
            guard let table = keyspace.tables[name] else {
                throw .invalid("'\(name)' not found in keyspace '\(keyspaceName)'")
            }
            return elements([element(table, keyspace, plan)])
        }
    }

    private func keyspaces(_ name: String?) throws(ServerError) -> [KeyspaceMetadata] {
        guard let name else { return schema.sortedKeyspaces }
        guard let keyspace = schema.keyspace(name) else { throw .invalid("'\(name)' not found in keyspaces") }
        return [keyspace]
    }

    private func whole(_ keyspace: KeyspaceMetadata, _ plan: DescribePlan) -> [Element] {
        [element(keyspace)] + keyspace.sortedTables.map { element($0, keyspace, plan) }
    }

    private func element(_ keyspace: KeyspaceMetadata) -> Element {
        let statement =
            keyspace.isVirtual
            ? "/*\nWarning: Keyspace \(keyspace.name) is a virtual keyspace and cannot be recreated with CQL.\n"
                + "Structure, for reference:*/\n// VIRTUAL KEYSPACE \(keyspace.name);"
            : keyspace.createStatement
        return Element(keyspace: keyspace.name, type: "keyspace", name: keyspace.name, statement: statement)
    }

    private func element(_ table: TableMetadata, _ keyspace: KeyspaceMetadata, _ plan: DescribePlan) -> Element {
        var statement = table.createStatement(includingID: plan.withInternals)
        if keyspace.isVirtual {
            statement =
                "/*\nWarning: Table \(table.qualifiedName) is a virtual table and cannot be recreated with CQL.\n"
                + "Structure, for reference:\n\(statement)\n*/"
        }
        return Element(keyspace: keyspace.name, type: "table", name: table.name, statement: statement)
    }

    // MARK: Shapes

    private func list(_ rows: [(keyspace: String, type: String, name: String)]) -> ResultRows {
        texts(
            ["keyspace_name", "type", "name"],
            rows.map { [Identifier.quoted($0.keyspace), $0.type, Identifier.quoted($0.name)] })
    }

    private func elements(_ rows: [Element]) -> ResultRows {
        texts(
            ["keyspace_name", "type", "name", "create_statement"],
            rows.map { [Identifier.quoted($0.keyspace), $0.type, Identifier.quoted($0.name), $0.statement] })
    }

    private func texts(_ columns: [String], _ rows: [[String]]) -> ResultRows {
        var cells = ByteWriter(capacity: 4096)
        for row in rows { for cell in row { write(NativeValue.text(cell), &cells) } }
        return ResultRows(metadata: metadata(columns.map { ($0, .text) }), rowCount: rows.count, cells: cells.toArray())
    }

    private func write(_ value: [UInt8], _ cells: inout ByteWriter) {
        cells.writeBE(Int32(value.count))
        cells.write(value)
    }

    private func metadata(_ columns: [(String, CQLType)]) -> ResultMetadata {
        ResultMetadata(
            columns: columns.map { ColumnSpec(keyspace: "system", table: "describe", name: $0.0, type: $0.1) })
    }

    private func cluster(_ keyspaceInUse: String?) -> ResultRows {
        var columns: [(String, CQLType)] = [("cluster", .text), ("partitioner", .text), ("snitch", .text)]
        var cells = ByteWriter(capacity: 1024)
        write(NativeValue.text(node.clusterName), &cells)
        write(NativeValue.text("Murmur3Partitioner"), &cells)
        write(NativeValue.text(node.snitch), &cells)
        if let keyspaceInUse, !Schema.isSystem(keyspaceInUse) {
            columns.append(("range_ownership", .map(.text, .list(.text))))
            let owners = NativeValue.texts([node.address])
            write(
                NativeValue.collection(
                    node.tokens.sorted().flatMap { [NativeValue.text("\($0)"), owners] }, valuesPerElement: 2), &cells)
        }
        return ResultRows(metadata: metadata(columns), rowCount: 1, cells: cells.toArray())
    }
}
