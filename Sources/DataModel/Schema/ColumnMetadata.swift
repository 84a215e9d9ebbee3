/// One column of a table.
public struct ColumnMetadata: Sendable, Hashable {
    /// The kind of a column; the raw values are those of `system_schema.columns.kind`.
    public enum Kind: String, Sendable, Hashable {
        case partitionKey = "partition_key"
        case clustering = "clustering"
        case `static` = "static"
        case regular = "regular"
    }

    public var name: String
    public var type: CQLType
    public var kind: Kind
    /// The index among the partition key or clustering columns; -1 for others.
    public var position: Int
    /// Whether a clustering column is stored in descending order.
    public var isDescending: Bool
    /// The number that identifies the column in stored cells: unique in the table and never reused, even after DROP.
    public var id: Int

    public init(name: String, type: CQLType, kind: Kind, position: Int = -1, isDescending: Bool = false, id: Int) {
        self.name = name
        self.type = type
        self.kind = kind
        self.position = position
        self.isDescending = isDescending
        self.id = id
    }

    public var isPrimaryKey: Bool { kind == .partitionKey || kind == .clustering }
    public var isStatic: Bool { kind == .static }

    /// `clustering_order` of `system_schema.columns`.
    public var clusteringOrder: String { kind == .clustering ? (isDescending ? "desc" : "asc") : "none" }
}
