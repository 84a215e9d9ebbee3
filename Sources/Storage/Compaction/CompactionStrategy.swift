import DataModel

/// Tables to merge into one.
public struct CompactionTask: Sendable {
    public var inputs: [SSTable]
    /// Why: for the log and `admin compactionstats`.
    public var reason: String

    public init(inputs: [SSTable], reason: String) {
        self.inputs = inputs
        self.reason = reason
    }
}

/// Chooses what to compact next.
///
/// A strategy sees immutable tables and the time; it keeps no state of its own, so it may be replaced while the server runs.
public protocol CompactionStrategy: Sendable {
    var name: String { get }
    /// - Parameters:
    ///   - tables: those not being compacted already.
    ///   - now: seconds since 1970.
    ///   - gcGraceSeconds: age from which tombstones may go.
    func next(_ tables: [SSTable], now: UInt32, gcGraceSeconds: UInt32) -> CompactionTask?
}

/// Merges tables of like size, so that each row is rewritten a number of times that grows with the logarithm of the data.
///
/// 1. Sort the tables by size; a table joins a bucket when it has between `bucketLow` and `bucketHigh` times the bucket's mean, or both are smaller than
///    `minTableBytes`.
/// 2. Of the buckets with at least `minThreshold` tables take the one with the smallest mean, and of it at most `maxThreshold` tables, smallest first.
/// 3. If there is none, take the one table with the greatest part of droppable tombstones, beyond `tombstoneThreshold` and older than a day.
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
            return CompactionTask(inputs: chosen.map { tables[$0] }, reason: "\(chosen.count) tables of like size")
        }
        let gcBefore = now > gcGraceSeconds ? now - gcGraceSeconds : 0
        var best: (table: SSTable, ratio: Double)?
        for table in tables {
            let age = Int64(now) - table.statistics.createdAt / 1_000_000
            let ratio = table.statistics.droppableRatio(gcBefore: gcBefore)
            if age >= Int64(tombstoneIntervalSeconds), ratio > tombstoneThreshold, ratio > best?.ratio ?? 0 { best = (table, ratio) }
        }
        guard let best else { return nil }
        return CompactionTask(inputs: [best.table], reason: "\(Int(best.ratio * 100)) % droppable tombstones")
    }

    /// Indexes of the sizes to merge; nil when no bucket is full enough.
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
