import Cluster
import Primitives

/// A table to repair.
public struct RepairTable: Sendable, Equatable {
    public var id: UUID
    /// Seconds since 1970; deletions made before are left out. Now minus `gc_grace_seconds`, or a little later: what one replica forgets while
    /// the job runs, and another does not, would come back to the first as a difference.
    public var gcBefore: UInt32
    /// Partitions of the table on the whole ring, about; nil when nobody knows. Decides how fine trees are, nothing else.
    public var partitions: Int?

    public init(id: UUID, gcBefore: UInt32, partitions: Int? = nil) {
        self.id = id
        self.gcBefore = gcBefore
        self.partitions = partitions
    }
}

/// Tokens, and the nodes that are to hold the same of them.
public struct RepairRange: Sendable, Equatable {
    public var tokens: TokenRange
    public var replicas: [UUID]

    public init(tokens: TokenRange, replicas: [UUID]) {
        self.tokens = tokens
        self.replicas = replicas
    }
}

/// What is to be repaired.
public struct RepairJob: Sendable, Equatable {
    public enum Mode: UInt8, Sendable {
        case full
        /// Reads and compares all the same, and says what would be sent; changes nothing.
        case preview
    }

    public var tables: [RepairTable]
    /// Each for every table.
    public var ranges: [RepairRange]
    public var mode: Mode
    /// Seconds since 1970 at which times to live are judged, on all replicas.
    public var now: UInt32

    public init(tables: [RepairTable], ranges: [RepairRange], mode: Mode = .full, now: UInt32) {
        self.tables = tables
        self.ranges = ranges
        self.mode = mode
        self.now = now
    }

    /// The ranges of a placement, or what of them lies in `within`: all of the ring, those a node holds, or a stretch.
    /// - Parameters:
    ///   - node: only ranges this node is a replica of.
    ///   - within: nil for the whole ring.
    public static func ranges(of placement: ReplicaTable, node: UUID? = nil, within: TokenRange? = nil) -> [RepairRange] {
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
    /// The tokens of a slice.
    init(_ slice: ClosedRange<Int64>) { self.init(after: slice.lowerBound &- 1, through: slice.upperBound) }
}
