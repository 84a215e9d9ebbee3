import Cluster
import Messages
import Primitives

/// The amount of data sent, or to be sent.
public struct RepairVolume: Sendable, Equatable {
    public var rows = 0
    /// The number of range tombstones.
    public var deletions = 0
    /// The bytes of the encoded mutations.
    public var bytes = 0

    public init() {}

    static func += (a: inout RepairVolume, b: RepairVolume) {
        a.rows += b.rows
        a.deletions += b.deletions
        a.bytes += b.bytes
    }
}

/// Tokens of a table in which the replicas differed.
public struct RepairDifference: Sendable, Equatable {
    public var table: UUID
    public var tokens: TokenRange
    public var volume: RepairVolume
}

/// Tokens of a table that could not be repaired.
public struct RepairFailure: Sendable, Equatable {
    public var table: UUID
    public var tokens: TokenRange
    /// The node that failed or did not answer.
    public var node: UUID
    public var reason: String
}

/// The result of a repair, or in a preview of what it would do.
///
/// A "range" here is a piece of work: tokens of one table, no larger than `RepairOptions.partitionsPerTree`.
public struct RepairReport: Sendable, Equatable {
    /// The greatest length of `differences` and of `failures`; the counters include all.
    public static let listLimit = 1_000

    public var isPreview: Bool
    /// Ranges of the job that were not finished in an earlier run.
    public var ranges = 0
    /// Ranges whose trees were compared.
    public var compared = 0
    /// Ranges in which something differed.
    public var differing = 0
    /// Ranges that are finished.
    public var done = 0
    public var failed = 0
    /// Rows and bytes in all replicas' trees together.
    public var rowsCompared = 0
    public var bytesCompared = 0
    /// Rows and bytes read from differing leaves.
    public var rowsRead = 0
    public var bytesRead = 0
    /// Data sent and acknowledged; in a preview, data that would be sent.
    public var sent = RepairVolume()
    /// The same per receiving node.
    public var sentTo: [UUID: RepairVolume] = [:]
    /// The number of finished slices that differed; `differences` lists the first of them.
    public var differenceCount = 0
    public var differences: [RepairDifference] = []
    public var failures: [RepairFailure] = []
    public var isCancelled = false

    init(isPreview: Bool) { self.isPreview = isPreview }

    /// Whether the whole job is done.
    public var isComplete: Bool { failed == 0 && !isCancelled && done == ranges }

    mutating func count(_ volume: RepairVolume, to node: UUID) {
        sent += volume
        sentTo[node, default: RepairVolume()] += volume
    }

    mutating func add(_ difference: RepairDifference) {
        differenceCount += 1
        if differences.count < RepairReport.listLimit { differences.append(difference) }
    }

    mutating func add(_ failure: RepairFailure) {
        failed += 1
        if failures.count < RepairReport.listLimit { failures.append(failure) }
    }
}
