import DataModel

/// The set of row parts that follow last-write-wins, so that a newer version replaces an older one.
///
/// The bits are part of the sstable's format; do not change.
public struct RowParts: OptionSet, Sendable {
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The row's liveness (it was inserted, not only updated).
    public static let liveness = RowParts(rawValue: 1 << 62)
    /// Parts that are not simply replaced: row deletions, cells of collections and counters, and columns with ids of 62
    /// and more.
    public static let other = RowParts(rawValue: 1 << 63)
    public static let all = RowParts(rawValue: .max)

    /// The part that a cell belongs to.
    @inline(__always) init(_ cell: CellCursor) {
        let isPlain = cell.flags.isDisjoint(with: [.hasPath, .counter, .complexDeletion]) && cell.column < 62
        self = isPlain ? RowParts(rawValue: 1 << UInt64(cell.column)) : .other
    }
}

/// Tracks which parts of a row were found, to decide whether older sstables can change the merged row.
///
/// 1. A plain cell or a liveness hides all older ones of the same part; a row deletion hides everything older.
/// 2. An sstable does not matter when its latest timestamp is older than all parts found and its rows have only parts
///    that were found.
struct RowCompleteness {
    private var parts: RowParts = []
    private var oldest = Int64.max

    /// Adds a version of the row that was found.
    @inline(__always) mutating func add(_ row: RowView) {
        if row.hasLiveness { add(.liveness, row.base) }
        let deletion = row.deletion
        if !deletion.isNone { add(.all, deletion.timestamp) }
        var cell = row.cells
        while cell.advance() {
            let part = RowParts(cell)
            if part != .other { add(part, cell.timestamp) }
        }
    }

    @inline(__always) private mutating func add(_ part: RowParts, _ timestamp: Int64) {
        parts.formUnion(part)
        oldest = min(oldest, timestamp)
    }

    /// Whether no version of the row in this sstable can change the result.
    @inline(__always) func hides(_ table: SSTableSet.Gate) -> Bool {
        table.latest < oldest && table.parts.isSubset(of: parts)
    }
}
