import DataModel

/// What the engine needs to know of a table.
public struct TableStoreOptions: Sendable {
    public var files = SSTableOptions()
    public var gcGraceSeconds: UInt32 = 864_000
    /// How tables are compacted; nil: not in the background.
    public var compaction: (any CompactionStrategy)? = SizeTieredStrategy()

    public init() {}
}
