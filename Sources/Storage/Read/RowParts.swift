import DataModel

/// Which parts rows have, as far as a newer version of a part simply replaces an older one.
///
/// The bits are part of the sstable's format; do not change.
public struct RowParts: OptionSet, Sendable {
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The row was inserted.
    public static let liveness = RowParts(rawValue: 1 << 62)
    /// What is not simply replaced: a deletion of the row, cells of collections and counters, and columns for which there is no bit.
    public static let other = RowParts(rawValue: 1 << 63)
    public static let all = RowParts(rawValue: .max)

    /// The part a cell is of.
    @inline(__always) init(_ cell: CellCursor) {
        let isPlain = cell.flags.isDisjoint(with: [.hasPath, .counter, .complexDeletion]) && cell.column < 62
        self = isPlain ? RowParts(rawValue: 1 << UInt64(cell.column)) : .other
    }
}

/// What the newest versions of a row say for certain, so that older tables need not be asked.
///
/// 1. A plain cell or a liveness hides every older one in its place; a row's deletion hides everything older.
/// 2. A table whose latest timestamp is older than all that was found, and whose rows have only parts that were found, changes nothing of the merged row.
struct RowCover {
    private var parts: RowParts = []
    private var oldest = Int64.max

    /// Adds a version that was found.
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

    /// Whether nothing a table may have of the row matters.
    @inline(__always) func hides(_ table: SSTableSet.Gate) -> Bool {
        table.latest < oldest && table.parts.isSubset(of: parts)
    }
}
