import DataModel

/// The sstables of one compaction, to be merged into one.
public struct CompactionTask: Sendable {
    public var inputs: [SSTable]
    /// Why they were chosen, for the log and `admin compactionstats`.
    public var reason: String

    public init(inputs: [SSTable], reason: String) {
        self.inputs = inputs
        self.reason = reason
    }
}

/// Chooses which sstables to compact next.
///
/// A strategy is a pure function of immutable sstables and the time. It keeps no state, so it can be replaced while the
/// server runs.
public protocol CompactionStrategy: Sendable {
    var name: String { get }
    /// - Parameters:
    ///   - tables: the sstables that are not being compacted.
    ///   - now: seconds since 1970.
    ///   - gcGraceSeconds: the age in seconds at which tombstones may be dropped.
    func next(_ tables: [SSTable], now: UInt32, gcGraceSeconds: UInt32) -> CompactionTask?
}

/// Merges sstables of similar size, so that the number of times a row is rewritten grows with the logarithm of the
/// data.
///
/// 1. Sort the sstables by size. An sstable joins a bucket when its size is between `bucketLow` and `bucketHigh` times
///    the bucket's mean, or when both are below `minTableBytes`.
/// 2. Of the buckets with at least `minThreshold` sstables take the one with the smallest mean, and from it at most
///    `maxThreshold` sstables, smallest first.
/// 3. If there is no such bucket, take the one sstable with the highest ratio of droppable tombstones, if the ratio
///    exceeds `tombstoneThreshold` and the sstable is at least `tombstoneIntervalSeconds` old.
///
/// After Cassandra's documented SizeTieredCompactionStrategy; the options have its names and defaults.
public struct SizeTieredStrategy: CompactionStrategy {
    public var minThreshold = 4
    public var maxThreshold = 32
    public var minTableBytes = 50 << 20
    public var bucketLow = 0.5
    public var bucketHigh = 1.5
    public var tombstoneThreshold = 0.2
    public var tombstoneIntervalSeconds: UInt32 = 86_400

    public init() {}

    public var name: String { "SizeTieredCompactionStrategy" }

    public func next(_ tables: [SSTable], now: UInt32, gcGraceSeconds: UInt32) -> CompactionTask? {
        let sizes = tables.map(\.fileBytes)
        if let chosen = bucket(sizes) {
            return CompactionTask(inputs: chosen.map { tables[$0] }, reason: "\(chosen.count) sstables of similar size")
        }
        let gcBefore = now > gcGraceSeconds ? now - gcGraceSeconds : 0
        var best: (table: SSTable, ratio: Double)?
        for table in tables {
            let age = Int64(now) - table.statistics.createdAt / 1_000_000
            let ratio = table.statistics.droppableRatio(gcBefore: gcBefore)
            if age >= Int64(tombstoneIntervalSeconds), ratio > tombstoneThreshold, ratio > best?.ratio ?? 0 {
                best = (table, ratio)
            }
        }
        guard let best else { return nil }
        return CompactionTask(inputs: [best.table], reason: "\(Int(best.ratio * 100)) % droppable tombstones")
    }

    /// Returns the indexes of the sizes to merge; nil when no bucket is full enough.
    func bucket(_ sizes: [Int]) -> [Int]? {
        var buckets: [(mean: Double, members: [Int])] = []
        for index in sizes.indices.sorted(by: { sizes[$0] < sizes[$1] }) {
            let size = Double(sizes[index])
            if let last = buckets.indices.last,
                (size >= buckets[last].mean * bucketLow && size <= buckets[last].mean * bucketHigh)
                    || (sizes[index] < minTableBytes && buckets[last].mean < Double(minTableBytes))
            {
                let count = Double(buckets[last].members.count)
                buckets[last].mean = (buckets[last].mean * count + size) / (count + 1)
                buckets[last].members.append(index)
            } else {
                buckets.append((size, [index]))
            }
        }
        guard let full = buckets.first(where: { $0.members.count >= minThreshold }) else { return nil }
        return Array(full.members.prefix(maxThreshold))
    }
}
