/// The flat encoding of a row. A mutation, the commit log, a memtable, an sstable and a replica's answer use the same
/// bytes.
///
///     row  := flags [base] [ttl expires] [deletion local] cell*         until the bytes end
///     cell := column cellFlags [timestamp] [ttl expires | local] [pathLength path] [valueLength value]
///
/// | field | bytes | there when |
/// | field | bytes | present |
/// | flags | 1 | always: `RowFlags` |
/// | base | 8, little-endian, microseconds | `hasBase`: timestamp of the liveness and of cells with `sameTimestamp` |
/// | ttl, expires | 4 + 4, seconds | `livenessExpires`; in a cell `expiring` |
/// | deletion, local | 8 + 4 | `hasDeletion`: the row's own deletion |
/// | column | varint | always: `ColumnMetadata.id` |
/// | cellFlags | 1 | always: `CellFlags` |
/// | timestamp | 8 | unless `sameTimestamp` |
/// | local | 4, seconds | `tombstone` and `complexDeletion` |
/// | pathLength, path | varint + bytes | `hasPath`: the byte-comparable path of a collection's cell |
/// | valueLength, value | varint + bytes | unless `tombstone` or `complexDeletion` |
///
/// Cells are ordered by (column, complex deletion first, path by memcmp), without duplicates.
public enum RowFormat {}

/// Part of the file format; do not change.
public struct RowFlags: OptionSet, Sendable {
    public let rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let hasBase = RowFlags(rawValue: 1)
    /// The row exists even without cells, as of `base`: it was written by INSERT, not only by UPDATE.
    public static let hasLiveness = RowFlags(rawValue: 2)
    public static let livenessExpires = RowFlags(rawValue: 4)
    public static let hasDeletion = RowFlags(rawValue: 8)
    static let known: RowFlags = [.hasBase, .hasLiveness, .livenessExpires, .hasDeletion]
}

/// Part of the file format; do not change.
public struct CellFlags: OptionSet, Sendable {
    public let rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let sameTimestamp = CellFlags(rawValue: 1)
    public static let tombstone = CellFlags(rawValue: 2)
    public static let expiring = CellFlags(rawValue: 4)
    public static let hasPath = CellFlags(rawValue: 8)
    /// Not a cell: deletes everything of this column up to the timestamp.
    public static let complexDeletion = CellFlags(rawValue: 16)
    /// The value is counter shards (`CounterValue`).
    public static let counter = CellFlags(rawValue: 32)
    static let known: CellFlags = [.sameTimestamp, .tombstone, .expiring, .hasPath, .complexDeletion, .counter]
}
