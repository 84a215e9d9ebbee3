import Synchronization

/// Defects the product can be told to have, so that the simulator can show that it would find them. Never on in a server.
///
/// Each is a mistake somebody could make, of a line or two. The runs that find it are `PlantedRun` in Simulation.
public enum PlantedBug: String, Sendable, CaseIterable {
    // MARK: The disk

    /// The simulated disk says that it synced, and did not.
    case diskForgetsSyncs = "disk-forgets-syncs"
    /// Writes are acknowledged before the log is on the disk, though the mode promises it.
    case acknowledgedBeforeSync = "acknowledged-before-sync"
    /// The replay takes the oldest of several segments for flushed.
    case replaySkipsSegment = "replay-skips-segment"
    /// A compaction forgets a tombstone though a file beside its inputs has what it shadows.
    case shadowedDataOverlooked = "shadowed-data-overlooked"
    /// A compaction forgets tombstones before `gc_grace_seconds` are over.
    case gcGraceIgnored = "gc-grace-ignored"

    // MARK: Reads and writes

    /// Every consistency level is content with one replica.
    case oneIsEnough = "one-is-enough"
    /// Replicas that answered a read with old data are not repaired.
    case readRepairOff = "read-repair-off"
    /// The first rows that come are the answer, whatever the others' digests say.
    case digestsNotCompared = "digests-not-compared"
    /// A page that came out short, for its rows were deleted, is taken for the last.
    case shortReads = "short-reads"
    /// Hints arrive with the time of their delivery.
    case hintsRestamped = "hints-restamped"
    /// Logged batches are not logged.
    case batchlogOff = "batchlog-off"
    /// A logged batch is removed before it is written.
    case batchRemovedEarly = "batch-removed-early"
    /// A counter's increment that was not answered is sent once more.
    case counterTwice = "counter-twice"
    /// A repair passes over the last stretch in which trees differ.
    case repairSkipsStretch = "repair-skips-stretch"

    // MARK: Agreement

    /// Rounds of Paxos do not finish what an earlier round may have accepted.
    case paxosForgetsAccepted = "paxos-forgets-accepted"
    /// A promise of Paxos is given and not kept.
    case paxosForgetsPromise = "paxos-forgets-promise"
    /// What an acceptor of Paxos says is not on the disk when it says it.
    case paxosNotSynced = "paxos-not-synced"
    /// Changes of the schema do not wait for a majority.
    case schemaWithoutMajority = "schema-without-majority"

    // MARK: Members

    /// A node that starts again gossips in the generation it had.
    case generationNotRaised = "generation-not-raised"
    /// Writes do not go to nodes that are about to own them.
    case pendingNotWritten = "pending-not-written"
    /// A node that joins serves without a copy of what it is to own.
    case joinsWithoutCopy = "joins-without-copy"

    fileprivate var bit: UInt64 {
        var bit: UInt64 = 1
        for bug in PlantedBug.allCases {
            if bug == self { return bit }
            bit <<= 1
        }
        return 0
    }
}

/// Which planted bugs are on, in this process.
///
/// **Thread safety**: all methods, from any thread.
public enum PlantedBugs {
    private static let bits = Atomic<UInt64>(0)

    /// Whether the product is to have the bug; false unless a test said otherwise.
    public static func isOn(_ bug: PlantedBug) -> Bool {
        let bits = bits.load(ordering: .relaxed)
        return bits != 0 && bits & bug.bit != 0
    }

    /// Replaces the set of bugs that are on.
    public static func set(_ bugs: [PlantedBug]) { bits.store(bugs.reduce(0) { $0 | $1.bit }, ordering: .relaxed) }
}
