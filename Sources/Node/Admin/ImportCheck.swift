import DataModel
import Primitives
import Storage

/// Checks whether sstables made elsewhere fit a table: the keys must be equal, and the table must have every column of
/// the sstables with the same type.
///
/// Cells are stored by column id. A table created with its columns in another order has other ids; `renumbered` maps
/// them.
struct ImportCheck {
    private let table: TableMetadata
    private let staticColumns: [Int: ColumnMetadata]
    private let regularColumns: [Int: ColumnMetadata]
    /// Maps a column id in the sstables to the table's own id, where they differ.
    let renumbered: [Int: Int]

    /// - Throws: an error that says what does not fit.
    init(_ source: TableMetadata, into table: TableMetadata) throws(AdminError) {
        func refuse(_ why: String) -> AdminError {
            AdminError(
                status: 409,
                message: "the files are of \(source.qualifiedName), which does not fit \(table.qualifiedName): \(why)")
        }
        guard source.keyspace == table.keyspace, source.name == table.name else { throw refuse("the names differ") }
        guard !source.isCounter, !table.isCounter else {
            throw refuse("counters cannot be imported: their shards belong to the node that wrote them")
        }
        for (part, theirs, ours) in [
            ("partition key", source.partitionKey, table.partitionKey),
            ("clustering key", source.clustering, table.clustering),
        ] {
            func text(_ columns: [ColumnMetadata]) -> String {
                "(" + columns.map { "\($0.name) \($0.type)\($0.isDescending ? " DESC" : "")" }.joined(separator: ", ")
                    + ")"
            }
            guard text(theirs) == text(ours) else {
                throw refuse("its \(part) is \(text(theirs)), the table's \(text(ours))")
            }
        }
        var numbers: [Int: Int] = [:]
        for column in source.statics + source.regulars {
            guard let ours = table.column(named: column.name) else {
                throw refuse("the table has no column \(column.name)")
            }
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

    /// Returns what is wrong with a row, whose columns have the table's ids; nil if nothing is.
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
                return "a key has an unknown kind"
            }
        } catch { return "a key does not parse: \(error)" }
        var cells = row.cells
        while cells.advance() {
            guard let column = view.isStatic ? staticColumns[cells.column] : regularColumns[cells.column] else {
                return "there is no column with the id \(cells.column)"
            }
            guard
                column.type.isMultiCell == (cells.isComplexDeletion || cells.flags.contains(.hasPath))
                    || cells.isTombstone,
                !cells.flags.contains(.counter)
            else { return "a cell of \(column.name) does not match the column's type" }
        }
        return nil
    }
}

extension AdminCommands {
    /// Imports finished sstables into a table.
    func importTables(_ arguments: [String: String]) throws -> AdminValue {
        guard let keyspace = arguments["keyspace"], let name = arguments["table"], let given = arguments["directory"]
        else {
            throw AdminError(status: 400, message: "import needs keyspace=, table= and directory=")
        }
        guard given.hasPrefix("/") else {
            throw AdminError(
                status: 400, message: "the directory must be an absolute path on the node's machine, not \(given)")
        }
        guard let table = node.queries.schema.table(keyspace, name), !table.isVirtual,
            let store = node.storage.table(table.id)
        else {
            throw AdminError(status: 404, message: "there is no table \(keyspace).\(name)")
        }
        let directory = OfflineDirectory(system: node.system, path: given)
        if directory.isUnfinished {
            throw AdminError(status: 409, message: "the load into \(given) is not complete: run it again, then import")
        }
        do {
            guard let source = try directory.table() else {
                throw AdminError(
                    status: 409,
                    message:
                        "\(given) does not name the table of its files; use a directory made by auspex load --to-sstables"
                )
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
