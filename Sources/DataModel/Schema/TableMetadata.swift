import Primitives

/// A table at one schema version; immutable.
///
/// **Invariants**: `columns` is in the order of `SELECT *`: partition key, clustering, statics by name, regulars by
/// name. Names and ids are unique; every id is below `nextColumnID`.
public final class TableMetadata: Sendable {
    public let keyspace: String
    public let name: String
    public let id: UUID
    public let columns: [ColumnMetadata]
    public let partitionKey: [ColumnMetadata]
    public let clustering: [ColumnMetadata]
    public let statics: [ColumnMetadata]
    public let regulars: [ColumnMetadata]
    public let options: TableOptions
    /// The id of the next added column.
    public let nextColumnID: Int
    /// The most columns that a table may have, and the most that it may ever have had.
    public static let columnLimit = 30_000
    static let columnIDLimit = 1 << 20
    /// Whether its non-key columns are counters.
    public let isCounter: Bool
    /// Whether its contents are computed when read: nothing is stored, nothing can be written.
    public let isVirtual: Bool
    private let indexByName: [String: Int]

    /// - Parameter columns: in any order; key columns have their positions set.
    public init(
        keyspace: String, name: String, id: UUID, columns: [ColumnMetadata], options: TableOptions = TableOptions(),
        nextColumnID: Int? = nil, isVirtual: Bool = false
    ) {
        self.keyspace = keyspace
        self.name = name
        self.id = id
        self.options = options
        self.isVirtual = isVirtual
        func byName(_ kind: ColumnMetadata.Kind) -> [ColumnMetadata] {
            columns.filter { $0.kind == kind }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        }
        partitionKey = columns.filter { $0.kind == .partitionKey }.sorted { $0.position < $1.position }
        clustering = columns.filter { $0.kind == .clustering }.sorted { $0.position < $1.position }
        statics = byName(.static)
        regulars = byName(.regular)
        self.columns = partitionKey + clustering + statics + regulars
        isCounter = (statics + regulars).contains { $0.type == .counter }
        self.nextColumnID = max(nextColumnID ?? 0, (columns.map(\.id).max() ?? -1) + 1)
        var index: [String: Int] = [:]
        for (place, column) in self.columns.enumerated() {
            precondition(
                index.updateValue(place, forKey: column.name) == nil,
                "column \(column.name) twice in \(keyspace).\(name)")
        }
        indexByName = index
    }

    public func column(named name: String) -> ColumnMetadata? { indexByName[name].map { columns[$0] } }

    /// Returns the index of the column in `columns`.
    public func columnIndex(named name: String) -> Int? { indexByName[name] }

    /// The primary key columns: partition key, then clustering key.
    public var primaryKey: [ColumnMetadata] { partitionKey + clustering }
    public var hasStatics: Bool { !statics.isEmpty }
    /// Keyspace and table name, as in error messages.
    public var qualifiedName: String { "\(keyspace).\(name)" }

    /// Returns the same table (same id, same column ids) with other columns or options.
    public func altered(columns: [ColumnMetadata]? = nil, options: TableOptions? = nil) -> TableMetadata {
        TableMetadata(
            keyspace: keyspace, name: name, id: id, columns: columns ?? self.columns, options: options ?? self.options,
            nextColumnID: nextColumnID, isVirtual: isVirtual)
    }

    /// Returns the same definition with a new id, for TRUNCATE.
    public func emptied(_ newID: UUID) -> TableMetadata {
        TableMetadata(
            keyspace: keyspace, name: name, id: newID, columns: columns, options: options, nextColumnID: nextColumnID,
            isVirtual: isVirtual)
    }

    /// Returns the table with an additional column, which gets the next id.
    public func adding(column name: String, type: CQLType, isStatic: Bool) -> TableMetadata {
        altered(
            columns: columns + [
                ColumnMetadata(name: name, type: type, kind: isStatic ? .static : .regular, id: nextColumnID)
            ])
    }

    /// Returns the table without a column, whose id is not reused.
    public func dropping(column name: String) -> TableMetadata { altered(columns: columns.filter { $0.name != name }) }
}
