import Client
import DataModel

/// The mapping of fields to columns, and the statement that writes a row.
struct LoadPlan: Sendable {
    struct Column: Sendable {
        var name: String
        var type: CQLType
        var isKey: Bool
    }

    var keyspace: String
    var table: String
    /// The columns written, in the order of the fields; see `markers` for the statement's order.
    var columns: [Column]
    /// The column of each CSV field; nil: the field is skipped. Empty for JSON lines.
    var fields: [Int?]
    /// Texts that mean null, besides the empty field.
    var nulls: [[UInt8]]
    /// Whether the values are added to counters.
    var isCounter = false

    /// The column of each bind marker of the statement; nil: markers are in the order of `columns`.
    var markers: [Int]? {
        guard isCounter else { return nil }
        return columns.indices.filter { !columns[$0].isKey } + columns.indices.filter { columns[$0].isKey }
    }

    /// The statement that writes one record.
    var statement: String { isCounter ? update : insert }

    private var update: String {
        func quoted(_ column: Column) -> String { Identifier.quoted(column.name) }
        let additions = columns.filter { !$0.isKey }.map { "\(quoted($0)) = \(quoted($0)) + ?" }.joined(separator: ", ")
        let key = columns.filter(\.isKey).map { "\(quoted($0)) = ?" }.joined(separator: " AND ")
        return "UPDATE \(Identifier.quoted(keyspace)).\(Identifier.quoted(table)) SET \(additions) WHERE \(key)"
    }

    private var insert: String {
        let names = columns.map { Identifier.quoted($0.name) }.joined(separator: ", ")
        let markers = columns.map { _ in "?" }.joined(separator: ", ")
        return "INSERT INTO \(Identifier.quoted(keyspace)).\(Identifier.quoted(table)) (\(names)) VALUES (\(markers))"
    }

    /// Matches the fields of a file with the columns of a table.
    /// - Parameter names: the field names; `-` skips a field. nil: any column may occur (JSON lines).
    init(_ table: DescribedTable, names: [String]?, nulls: [String]) throws(LoadError) {
        keyspace = table.keyspace
        self.table = table.name
        self.nulls = nulls.filter { !$0.isEmpty }.map { Array($0.utf8) }
        columns = []
        fields = []
        isCounter = table.columns.contains { $0.type == .counter }
        let known = table.columns
        for name in names ?? known.map(\.name) {
            if name == "-" {
                fields.append(nil)
                continue
            }
            guard
                let column = known.first(where: { $0.name == name })
                    ?? known.first(where: { $0.name == LoadPlan.columnName(name) })
            else {
                throw .schema(
                    "the file has a field '\(name)', the table \(table.qualifiedName) no such column; it has "
                        + known.map(\.name).joined(separator: ", ")
                        + ". Name the fields with --columns; - leaves one out")
            }
            guard !columns.contains(where: { $0.name == column.name }) else {
                throw .schema("two fields are called '\(column.name)'")
            }
            fields.append(columns.count)
            let isKey = column.kind == .partitionKey || column.kind == .clustering
            columns.append(Column(name: column.name, type: column.type, isKey: isKey))
        }
        if names == nil { fields = [] }
        for key in table.primaryKey where !columns.contains(where: { $0.name == key.name }) {
            throw .schema(
                "no field is called '\(key.name)', which is part of the primary key of \(table.qualifiedName)")
        }
        if isCounter, columns.allSatisfy(\.isKey) {
            throw .schema("no field is a counter of \(table.qualifiedName): nothing would be counted")
        }
    }

    /// Converts a field name to a column name: lower case, with other characters than letters and digits replaced by
    /// `_`.
    static func columnName(_ field: String) -> String {
        var name = ""
        for scalar in field.lowercased().unicodeScalars {
            let isPlain = ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar) || scalar == "_"
            if isPlain { name.unicodeScalars.append(scalar) } else if !name.hasSuffix("_") { name += "_" }
        }
        while name.hasSuffix("_"), name.count > 1 { name.removeLast() }
        if let first = name.first, first.isNumber { name = "_" + name }
        return name.isEmpty ? "_" : name
    }

    /// Returns a table with the inferred types and the given key, and the statement that creates it.
    static func table(
        keyspace: String, name: String, columns: [(name: String, guess: TypeGuess)], key: String?
    ) throws(LoadError) -> (table: DescribedTable, create: String) {
        guard let first = columns.first else { throw .schema("the file has no columns") }
        let key =
            try key.map { (text) throws(LoadError) in try KeySpec(parsing: text) } ?? KeySpec(partition: [first.name])
        for part in key.names where !columns.contains(where: { $0.name == part }) {
            throw .usage(
                "--key: no field is called '\(part)'; there are " + columns.map(\.name).joined(separator: ", "))
        }
        guard Set(columns.map(\.name)).count == columns.count else {
            throw .schema("two fields have the same name; name them with --columns")
        }
        let described = columns.map { column -> DescribedColumn in
            if let position = key.partition.firstIndex(of: column.name) {
                return DescribedColumn(
                    name: column.name, type: column.guess.type, kind: .partitionKey, position: position)
            }
            if let position = key.clustering.firstIndex(where: { $0.name == column.name }) {
                return DescribedColumn(
                    name: column.name, type: column.guess.type, kind: .clustering, position: position)
            }
            return DescribedColumn(name: column.name, type: column.guess.type, kind: .regular, position: -1)
        }
        let table = DescribedTable(keyspace: keyspace, name: name, columns: described)
        let definitions = described.map { "\(Identifier.quoted($0.name)) \($0.type)" }.joined(separator: ", ")
        return (
            table,
            "CREATE TABLE IF NOT EXISTS \(table.qualifiedName) (\(definitions), PRIMARY KEY (\(key.cql)))\(key.orderClause)"
        )
    }
}
