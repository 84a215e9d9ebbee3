import Testing

@testable import DataModel
@testable import Storage

/// How table options become options of the engine.
@Suite struct TableOptionsTests {
    private func strategy(_ map: [String: String]) throws -> SizeTieredStrategy? {
        var options = TableOptions()
        options.compaction = try CompactionOptions(
            map.merging(["class": "SizeTieredCompactionStrategy"]) { given, _ in given })
        return TableStoreOptions(options).compaction as? SizeTieredStrategy
    }

    @Test func sizeTieredOptionsReachTheStrategy() throws {
        let given = try strategy([
            "min_threshold": "2", "max_threshold": "9", "min_sstable_size": "1024", "bucket_low": "0.25",
            "bucket_high": "3",
            "tombstone_threshold": "0.5", "tombstone_compaction_interval": "60",
        ])
        let chosen = try #require(given)
        #expect(chosen.minThreshold == 2 && chosen.maxThreshold == 9)
        #expect(chosen.minTableBytes == 1024)
        #expect(chosen.bucketLow == 0.25 && chosen.bucketHigh == 3)
        #expect(chosen.tombstoneThreshold == 0.5 && chosen.tombstoneIntervalSeconds == 60)
    }

    @Test func missingOptionsUseStrategyDefaults() throws {
        let chosen = try #require(try strategy([:]))
        let own = SizeTieredStrategy()
        #expect(
            chosen.minTableBytes == own.minTableBytes && chosen.bucketLow == own.bucketLow
                && chosen.bucketHigh == own.bucketHigh)
        #expect(
            chosen.tombstoneThreshold == own.tombstoneThreshold
                && chosen.tombstoneIntervalSeconds == own.tombstoneIntervalSeconds)
    }

    @Test func smallFilesAreBucketedTogether() throws {
        var strategy = SizeTieredStrategy()
        strategy.minThreshold = 2
        #expect(strategy.bucket([100_000, 100, 120]) == [1, 2, 0])
        strategy.minTableBytes = 1
        #expect(strategy.bucket([100_000, 100, 120]) == [1, 2])
    }
}
