import Cluster
import Primitives

/// A table to repair.
public struct RepairTable: Sendable, Equatable {
    public var id: UUID
    /// Deletions made before this time are left out. Seconds since 1970. Use now minus `gc_grace_seconds`, or slightly
    /// later: a deletion that one replica purges during the job and another does not would show up as a difference.
    public var gcBefore: UInt32
    /// The estimated number of the table's partitions on the whole ring; nil when unknown. Only determines the size of
    /// trees.
    public var partitions: Int?

    public init(id: UUID, gcBefore: UInt32, partitions: Int? = nil) {
        self.id = id
        self.gcBefore = gcBefore
        self.partitions = partitions
    }
}

/// A range of tokens and the nodes that replicate it.
public struct RepairRange: Sendable, Equatable {
    public var tokens: TokenRange
    public var replicas: [UUID]

    public init(tokens: TokenRange, replicas: [UUID]) {
        self.tokens = tokens
        self.replicas = replicas
    }
}

/// The tables and ranges to repair.
public struct RepairJob: Sendable, Equatable {
    public enum Mode: UInt8, Sendable {
        case full
        /// Reads and compares as a full repair does and reports what it would send, but changes nothing.
        case preview
    }

    public var tables: [RepairTable]
    /// Every range is repaired for every table.
    public var ranges: [RepairRange]
    public var mode: Mode
    /// The time at which all replicas judge expiry (TTL), in seconds since 1970.
    public var now: UInt32

    public init(tables: [RepairTable], ranges: [RepairRange], mode: Mode = .full, now: UInt32) {
        self.tables = tables
        self.ranges = ranges
        self.mode = mode
        self.now = now
    }

    /// Returns the ranges of a replica table, optionally restricted.
    /// - Parameters:
    ///   - node: if not nil, only ranges that this node replicates.
    ///   - within: if not nil, only the parts of ranges inside this range.
    public static func ranges(of placement: ReplicaTable, node: UUID? = nil, within: TokenRange? = nil) -> [RepairRange]
    {
        var ranges: [RepairRange] = []
        for index in 0..<placement.rangeCount {
            let range = placement.range(at: index)
            let replicas = placement.replicaIDs(for: range.through)
            if let node, !replicas.contains(node) { continue }
            guard let within else {
                ranges.append(RepairRange(tokens: range, replicas: replicas))
                continue
            }
            for slice in range.slices {
                for wanted in within.slices where slice.overlaps(wanted) {
                    ranges.append(RepairRange(tokens: TokenRange(slice.clamped(to: wanted)), replicas: replicas))
                }
            }
        }
        return ranges
    }
}

extension TokenRange {
    /// Creates the range with the same tokens as a slice.
    init(_ slice: ClosedRange<Int64>) { self.init(after: slice.lowerBound &- 1, through: slice.upperBound) }
}
