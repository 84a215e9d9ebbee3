import DataModel

/// A table's options, as far as the engine needs them.
public struct TableStoreOptions: Sendable {
    public var files = SSTableOptions()
    public var gcGraceSeconds: UInt32 = 864_000
    /// The compaction strategy; nil turns background compaction off.
    public var compaction: (any CompactionStrategy)? = SizeTieredStrategy()

    public init() {}

    /// Translates the table's CQL options.
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
        strategy.tombstoneThreshold = options.compaction.number(
            "tombstone_threshold", default: strategy.tombstoneThreshold)
        strategy.tombstoneIntervalSeconds = UInt32(
            clamping: options.compaction.integer(
                "tombstone_compaction_interval", default: Int(strategy.tombstoneIntervalSeconds)))
        compaction = options.compaction.isEnabled ? strategy : nil
    }
}
