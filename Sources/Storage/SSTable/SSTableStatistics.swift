import DataModel
import Primitives

/// Statistics of an sstable, collected while it is written.
public struct SSTableStatistics: Sendable, Equatable {
    /// The smallest and the greatest key of rows and range tombstones.
    public var firstKey: [UInt8] = []
    public var lastKey: [UInt8] = []
    /// Microseconds since 1970, over rows, cells and tombstones; `Int64.max` and `Int64.min` when there are none.
    public var minTimestamp = Int64.max
    public var maxTimestamp = Int64.min
    /// The smallest and the greatest key bytes after the partition, over rows with a clustering key.
    public var minClustering: [UInt8] = []
    public var maxClustering: [UInt8] = []
    public var partitionCount = 0
    public var rowCount = 0
    public var cellCount = 0
    /// Row deletions, cell tombstones and complex deletions.
    public var tombstoneCount = 0
    public var rangeTombstoneCount = 0
    public var expiringCount = 0
    /// Whether rows hold deletions or expiring cells, which a purge rule may drop.
    var hasDeletions: Bool { tombstoneCount > 0 || expiringCount > 0 }
    /// Seconds, over expiring cells and rows.
    public var minTTL = UInt32.max
    public var maxTTL: UInt32 = 0
    /// Seconds since 1970: the creation of tombstones and the expiration of cells.
    public var minLocalDeletion = UInt32.max
    public var maxLocalDeletion: UInt32 = 0
    /// Counts of tombstones and expiring cells by the hour of their local deletion or expiration (seconds since 1970),
    /// from which `gc_grace_seconds` counts; at most 100 bins.
    public var droppable: [(hour: UInt32, count: Int)] = []
    /// Bytes of keys and rows before compression.
    public var rawBytes = 0
    public var dataBlockCount = 0
    /// The false-positive rate requested from the Bloom filter, and the rate it reached.
    public var filterRateRequested = 1.0
    public var filterRateReached = 1.0
    /// The name of the codec of data blocks.
    public var codec = "none"
    /// Microseconds since 1970.
    public var createdAt: Int64 = 0
    /// The number of sstables merged into this one; 0 for a flushed memtable.
    public var sources = 0
    /// The size of the largest partition, in raw bytes.
    public var largestPartitionBytes = 0
    /// The union of the parts of all rows.
    public var parts: RowParts = []

    static let binLimit = 100
    /// The greatest count of a file; a larger one is damage.
    static let largestCount = 1 << 48

    public init() {}

    public static func == (a: SSTableStatistics, b: SSTableStatistics) -> Bool { a.encode() == b.encode() }

    mutating func recordTimestamp(_ timestamp: Int64) {
        if timestamp < minTimestamp { minTimestamp = timestamp }
        if timestamp > maxTimestamp { maxTimestamp = timestamp }
    }

    mutating func recordLocalDeletion(_ seconds: UInt32) {
        if seconds < minLocalDeletion { minLocalDeletion = seconds }
        if seconds > maxLocalDeletion { maxLocalDeletion = seconds }
        let hour = seconds / 3600 * 3600
        if let last = droppable.indices.last, droppable[last].hour == hour {
            droppable[last].count += 1
            return
        }
        if let bin = droppable.firstIndex(where: { $0.hour >= hour }) {
            if droppable[bin].hour == hour { droppable[bin].count += 1 } else { droppable.insert((hour, 1), at: bin) }
        } else {
            droppable.append((hour, 1))
        }
        guard droppable.count > SSTableStatistics.binLimit else { return }
        // Merge the two nearest bins under the later hour, so that nothing counts as droppable too early.
        var nearest = 0
        for index in 0..<droppable.count - 1
        where droppable[index + 1].hour - droppable[index].hour < droppable[nearest + 1].hour - droppable[nearest].hour
        {
            nearest = index
        }
        droppable[nearest + 1].count += droppable[nearest].count
        droppable.remove(at: nearest)
    }

    @inline(__always) mutating func recordRow(_ row: RowView) {
        rowCount += 1
        if row.hasLiveness {
            parts.formUnion(.liveness)
            recordTimestamp(row.base)
            if row.livenessTTL > 0 { recordExpiring(row.livenessTTL, row.livenessExpires) }
        }
        let deletion = row.deletion
        if !deletion.isNone {
            recordTimestamp(deletion.timestamp)
            recordLocalDeletion(deletion.localDeletion)
            tombstoneCount += 1
            parts.formUnion(.other)
        }
        var cursor = row.cells
        while cursor.advance() {
            cellCount += 1
            parts.formUnion(RowParts(cursor))
            recordTimestamp(cursor.timestamp)
            if cursor.localDeletion != .max {
                if cursor.isExpiring {
                    recordExpiring(cursor.ttl, cursor.localDeletion)
                } else {
                    recordLocalDeletion(cursor.localDeletion)
                    tombstoneCount += 1
                }
            }
        }
    }

    private mutating func recordExpiring(_ ttl: UInt32, _ expires: UInt32) {
        expiringCount += 1
        minTTL = min(minTTL, ttl)
        maxTTL = max(maxTTL, ttl)
        recordLocalDeletion(expires)
    }

    /// The ratio of droppable tombstones and expired cells at `gcBefore`, from 0 to 1.
    public func droppableRatio(gcBefore: UInt32) -> Double {
        let total = cellCount + rowCount + rangeTombstoneCount
        guard total > 0 else { return 0 }
        return Double(droppable.reduce(0) { $1.hour &+ 3600 <= gcBefore ? $0 + $1.count : $0 }) / Double(total)
    }

    func encode() -> [UInt8] {
        var out = ByteWriter(capacity: 512)
        for bytes in [firstKey, lastKey, minClustering, maxClustering, Array(codec.utf8)] {
            out.writeVarint(bytes.count)
            out.write(bytes)
        }
        for number in [minTimestamp, maxTimestamp, createdAt] { out.writeLE(number) }
        for number in [minTTL, maxTTL, minLocalDeletion, maxLocalDeletion] { out.writeLE(number) }
        for count in [
            partitionCount, rowCount, cellCount, tombstoneCount, rangeTombstoneCount, expiringCount, rawBytes,
            dataBlockCount, sources,
            largestPartitionBytes,
        ] { out.writeVarint(count) }
        out.writeLE(filterRateRequested.bitPattern)
        out.writeLE(filterRateReached.bitPattern)
        out.writeVarint(droppable.count)
        for bin in droppable {
            out.writeLE(bin.hour)
            out.writeVarint(bin.count)
        }
        out.writeLE(parts.rawValue)
        return out.toArray()
    }

    /// - Parameter version: the file's format version; version 2 has no `parts`.
    init(decoding bytes: UnsafeRawBufferPointer, version: UInt32) throws(ByteError) {
        var reader = ByteReader(bytes)
        firstKey = try reader.readArray(try reader.readCount())
        lastKey = try reader.readArray(try reader.readCount())
        minClustering = try reader.readArray(try reader.readCount())
        maxClustering = try reader.readArray(try reader.readCount())
        codec = String(decoding: try reader.readArray(try reader.readCount()), as: UTF8.self)
        minTimestamp = try reader.readLE()
        maxTimestamp = try reader.readLE()
        createdAt = try reader.readLE()
        minTTL = try reader.readLE()
        maxTTL = try reader.readLE()
        minLocalDeletion = try reader.readLE()
        maxLocalDeletion = try reader.readLE()
        // Counts of several sstables are added up.
        func count(_ reader: inout ByteReader) throws(ByteError) -> Int {
            let start = reader.offset
            let count = try reader.readCount()
            guard count <= SSTableStatistics.largestCount else {
                throw .unexpected(offset: start, expected: "a possible count")
            }
            return count
        }
        partitionCount = try count(&reader)
        rowCount = try count(&reader)
        cellCount = try count(&reader)
        tombstoneCount = try count(&reader)
        rangeTombstoneCount = try count(&reader)
        expiringCount = try count(&reader)
        rawBytes = try count(&reader)
        dataBlockCount = try count(&reader)
        sources = try count(&reader)
        largestPartitionBytes = try count(&reader)
        filterRateRequested = Double(bitPattern: try reader.readLE())
        filterRateReached = Double(bitPattern: try reader.readLE())
        let bins = try reader.readCount()
        guard bins <= SSTableStatistics.binLimit else { throw .malformedVarint(offset: reader.offset) }
        for _ in 0..<bins {
            let hour = try reader.readLE(UInt32.self)
            droppable.append((hour, try count(&reader)))
        }
        parts = version >= 3 ? RowParts(rawValue: try reader.readLE()) : .all
    }
}
