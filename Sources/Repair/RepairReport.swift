import Cluster
import Messages
import Primitives

/// What moves, or would move.
public struct RepairVolume: Sendable, Equatable {
    public var rows = 0
    /// Stretches of range tombstones.
    public var deletions = 0
    /// Of mutations, as they are sent.
    public var bytes = 0

    public init() {}

    static func += (a: inout RepairVolume, b: RepairVolume) {
        a.rows += b.rows
        a.deletions += b.deletions
        a.bytes += b.bytes
    }
}

/// Tokens of a table in which not all replicas held the same.
public struct RepairDifference: Sendable, Equatable {
    public var table: UUID
    public var tokens: TokenRange
    public var volume: RepairVolume
}

/// Tokens of a table that could not be repaired.
public struct RepairFailure: Sendable, Equatable {
    public var table: UUID
    public var tokens: TokenRange
    /// The node that did not do what it was asked.
    public var node: UUID
    public var reason: String
}

/// What a repair did, or in a preview what it would do.
///
/// "Ranges" are pieces of work: tokens of one table, as `RepairOptions.partitionsPerTree` cuts them.
public struct RepairReport: Sendable, Equatable {
    /// Differences and failures listed one by one; of more only numbers are kept.
    public static let listLimit = 1_000

    public var isPreview: Bool
    /// Those of the job that were not done before.
    public var ranges = 0
    /// Whose trees were compared.
    public var compared = 0
    /// In which something differed.
    public var differing = 0
    /// Which came to their end.
    public var done = 0
    public var failed = 0
    /// What replicas hold by their trees, all together.
    public var rowsCompared = 0
    public var bytesCompared = 0
    /// What was read of differing leaves.
    public var rowsRead = 0
    public var bytesRead = 0
    /// What was sent and acknowledged; in a preview, what would be sent.
    public var sent = RepairVolume()
    /// The same by the node that lacked it.
    public var sentTo: [UUID: RepairVolume] = [:]
    /// Differing stretches that came to their end, the first of them listed.
    public var differenceCount = 0
    public var differences: [RepairDifference] = []
    public var failures: [RepairFailure] = []
    public var isCancelled = false

    init(isPreview: Bool) { self.isPreview = isPreview }

    /// Whether all of the job is done.
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
