import DataModel

/// Where the columns that a statement needs of a row are found: computed once for a plan.
final class SlotLayout: Sendable {
    /// What a slot is filled with; without payload, so that looking at it for each cell costs nothing.
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
    /// One slot each.
    let columns: [ColumnMetadata]
    let sources: [Source]
    let shapes: [Shape]
    /// By column id: the slot, or `known` for a column that is not fetched, or `unknown` for one that was dropped.
    let slotByColumnID: [Int16]
    static let known: Int16 = -1
    static let unknown: Int16 = -2
    /// Slots filled when the partition begins, from its static row, from each row.
    let partitionSlots: [Int]
    let staticSlots: [Int]
    let rowSlots: [Int]
    /// How many clustering components must be decoded.
    let clusteringDepth: Int
    /// By clustering position: the slot, -1 for none.
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
