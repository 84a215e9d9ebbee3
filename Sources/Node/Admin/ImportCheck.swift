import DataModel
import Primitives
import Storage

/// Whether files made elsewhere fit a table: the same key, and every column of theirs with its type.
///
/// Columns have numbers, by which cells are stored. A table made by a statement that names its columns in another order has other numbers:
/// `renumbered` says which.
struct ImportCheck {
    private let table: TableMetadata
    private let staticColumns: [Int: ColumnMetadata]
    private let regularColumns: [Int: ColumnMetadata]
    /// The table's own number of a column that has another in the files.
    let renumbered: [Int: Int]

    /// - Throws: what does not fit.
    init(_ source: TableMetadata, into table: TableMetadata) throws(AdminError) {
        func refuse(_ why: String) -> AdminError {
            AdminError(status: 409, message: "the files are of \(source.qualifiedName), which does not fit \(table.qualifiedName): \(why)")
        }
        guard source.keyspace == table.keyspace, source.name == table.name else { throw refuse("the name is another") }
        guard !source.isCounter, !table.isCounter else { throw refuse("counters cannot be imported, they belong to the node that counted") }
        for (part, theirs, ours) in [
            ("partition key", source.partitionKey, table.partitionKey), ("clustering key", source.clustering, table.clustering),
        ] {
            func text(_ columns: [ColumnMetadata]) -> String {
                "(" + columns.map { "\($0.name) \($0.type)\($0.isDescending ? " DESC" : "")" }.joined(separator: ", ") + ")"
            }
            guard text(theirs) == text(ours) else { throw refuse("its \(part) is \(text(theirs)), the table's \(text(ours))") }
        }
        var numbers: [Int: Int] = [:]
        for column in source.statics + source.regulars {
            guard let ours = table.column(named: column.name) else { throw refuse("the table has no column \(column.name)") }
            guard ours.type == column.type, ours.kind == column.kind else {
                throw refuse(
                    "\(column.name) is a \(column.kind.rawValue) column of type \(column.type), the table's a \(ours.kind.rawValue) one of type \(ours.type)"
                )
            }
            if ours.id != column.id { numbers[column.id] = ours.id }
        }
        renumbered = numbers
        self.table = table
        func byNumber(_ columns: [ColumnMetadata]) -> [Int: ColumnMetadata] {
            Dictionary(columns.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        }
        staticColumns = byNumber(table.statics)
        regularColumns = byNumber(table.regulars)
    }

    /// What is wrong with a row, its columns numbered as the table's; nil when nothing is.
    func complaint(_ key: UnsafeRawBufferPointer, _ row: RowView) -> String? {
        let view = KeyView(key)
        let serialized = view.serializedPartitionKey
        guard view.token == Murmur3.token(serialized) else { return "a key's token is not that of its partition key" }
        do throws(KeyError) {
            _ = try KeyEncoding.partitionComponents(serialized, count: table.partitionKey.count)
            var offset = 0
            if view.isRow {
                var value = ByteWriter(capacity: 64)
                for column in table.clustering {
                    value.removeAll()
                    try KeyEncoding.nextClusteringComponent(
                        view.clustering, at: &offset, type: column.type, descending: column.isDescending, into: &value)
                }
                guard offset == view.clustering.count else { return "a clustering key has too many bytes" }
            } else if !view.isStatic {
                return "a key is of no kind that is known"
            }
        } catch { return "a key does not parse: \(error)" }
        var cells = row.cells
        while cells.advance() {
            guard let column = view.isStatic ? staticColumns[cells.column] : regularColumns[cells.column] else {
                return "there is no column with the number \(cells.column)"
            }
            guard column.type.isMultiCell == (cells.isComplexDeletion || cells.flags.contains(.hasPath)) || cells.isTombstone,
                !cells.flags.contains(.counter)
            else { return "a cell of \(column.name) is not of its kind" }
        }
        return nil
    }
}

extension AdminCommands {
    /// Takes finished files into a table.
    func importTables(_ arguments: [String: String]) throws -> AdminValue {
        guard let keyspace = arguments["keyspace"], let name = arguments["table"], let given = arguments["directory"] else {
            throw AdminError(status: 400, message: "import wants keyspace=, table= and directory=")
        }
        guard given.hasPrefix("/") else {
            throw AdminError(status: 400, message: "the directory must be an absolute path on the node's machine, not \(given)")
        }
        guard let table = node.queries.schema.table(keyspace, name), !table.isVirtual, let store = node.storage.table(table.id) else {
            throw AdminError(status: 404, message: "there is no table \(keyspace).\(name)")
        }
        let directory = OfflineDirectory(system: node.system, path: given)
        if directory.isUnfinished {
            throw AdminError(status: 409, message: "the load into \(given) has not ended: run it again, then import")
        }
        do {
            guard let source = try directory.table() else {
                throw AdminError(
                    status: 409,
                    message: "nothing in \(given) says which table its files are of; auspex load --to-sstables makes directories that do")
            }
            let check = try ImportCheck(source.table, into: table)
            let report = try node.storage.importTables(
                into: store, from: directory.path, renumbered: check.renumbered, complaint: check.complaint)
            return .object([
                ("table", .string(table.qualifiedName)), ("files", .int(report.files)), ("rows", .int(report.rows)),
                ("bytes", .int(report.bytes)), ("files_rewritten", .int(report.rewritten)),
            ])
        } catch ImportError.refused(let why) {
            throw AdminError(status: 409, message: why)
        } catch ImportError.storage(let error) {
            throw AdminError(status: 500, message: "nothing was imported: \(error)")
        }
    }
}
