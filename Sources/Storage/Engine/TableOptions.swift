import DataModel

/// What the engine needs to know of a table.
public struct TableStoreOptions: Sendable {
    public var files = SSTableOptions()
    public var gcGraceSeconds: UInt32 = 864_000
    /// How tables are compacted; nil: not in the background.
    public var compaction: (any CompactionStrategy)? = SizeTieredStrategy()

    public init() {}

    /// What the options of CQL mean here.
    public init(_ options: TableOptions) {
        gcGraceSeconds = UInt32(clamping: options.gcGraceSeconds)
        files.bloomFalsePositiveRate = options.bloomFilterFalsePositiveChance
        files.blockBytes = max(1, options.compression.chunkLengthKiB) << 10
        switch options.compression.compressor {
        case _ where !options.compression.isEnabled: files.codec = .none
        case .snappy: files.codec = .snappy
        case .zstd: files.codec = .zstd(level: Int32(clamping: options.compression.level))
        case .none: files.codec = .none
        default: files.codec = .lz4
        }
        var strategy = SizeTieredStrategy()
        strategy.minThreshold = options.compaction.minThreshold
        strategy.maxThreshold = options.compaction.maxThreshold
        strategy.minTableBytes = options.compaction.integer("min_sstable_size", default: strategy.minTableBytes)
        strategy.bucketLow = options.compaction.number("bucket_low", default: strategy.bucketLow)
        strategy.bucketHigh = options.compaction.number("bucket_high", default: strategy.bucketHigh)
        strategy.tombstoneThreshold = options.compaction.number("tombstone_threshold", default: strategy.tombstoneThreshold)
        strategy.tombstoneIntervalSeconds = UInt32(
            clamping: options.compaction.integer("tombstone_compaction_interval", default: Int(strategy.tombstoneIntervalSeconds)))
        compaction = options.compaction.isEnabled ? strategy : nil
    }
}
