import DataModel

/// Maps the columns that a statement fetches to slots. Computed once per plan.
final class SlotLayout: Sendable {
    /// The kind of a slot's source; without payload, so that testing it for each cell is free.
    enum Shape: UInt8, Sendable { case key, plain, counter, collection }

    enum Source: Sendable, Equatable {
        case partition(Int)
        case clustering(Int)
        case plain
        case counter
        case list
        case set(element: CQLType)
        case map(key: CQLType)

        var shape: Shape {
            switch self {
            case .partition, .clustering: .key
            case .plain: .plain
            case .counter: .counter
            case .list, .set, .map: .collection
            }
        }
    }

    let table: TableMetadata
    /// One slot per column.
    let columns: [ColumnMetadata]
    let sources: [Source]
    let shapes: [Shape]
    /// The slot by column id; `known` for an existing column that is not fetched, `unknown` for a dropped column.
    let slotByColumnID: [Int16]
    static let known: Int16 = -1
    static let unknown: Int16 = -2
    /// The slots filled from the partition key, from the static row, and from each row.
    let partitionSlots: [Int]
    let staticSlots: [Int]
    let rowSlots: [Int]
    /// The number of clustering components to decode.
    let clusteringDepth: Int
    /// The slot by clustering position; -1 for none.
    let slotByClustering: [Int]

    init(table: TableMetadata, columns: [ColumnMetadata]) {
        self.table = table
        self.columns = columns
        let sources = columns.map { column -> Source in
            switch column.kind {
            case .partitionKey: return .partition(column.position)
            case .clustering: return .clustering(column.position)
            case .static, .regular:
                switch column.type {
                case .counter: return .counter
                case .list: return .list
                case .set(let element): return .set(element: element)
                case .map(let key, _): return .map(key: key)
                default: return .plain
                }
            }
        }
        self.sources = sources
        shapes = sources.map(\.shape)
        var byID = [Int16](repeating: SlotLayout.unknown, count: table.nextColumnID)
        for column in table.statics + table.regulars { byID[column.id] = SlotLayout.known }
        var byClustering = [Int](repeating: -1, count: table.clustering.count)
        var depth = 0
        for (slot, column) in columns.enumerated() {
            switch column.kind {
            case .clustering:
                byClustering[column.position] = slot
                depth = max(depth, column.position + 1)
            case .static, .regular: byID[column.id] = Int16(slot)
            case .partitionKey: break
            }
        }
        slotByColumnID = byID
        slotByClustering = byClustering
        clusteringDepth = depth
        partitionSlots = columns.indices.filter { columns[$0].kind == .partitionKey }
        staticSlots = columns.indices.filter { columns[$0].kind == .static }
        rowSlots = columns.indices.filter { columns[$0].kind == .clustering || columns[$0].kind == .regular }
    }

    func slot(of column: ColumnMetadata) -> Int? { columns.firstIndex { $0.name == column.name } }
}
