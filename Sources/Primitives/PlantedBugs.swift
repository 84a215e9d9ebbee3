import Synchronization

/// Defects that can be switched on in the product, to prove that the simulator finds them. Never on in a server.
///
/// Each is a realistic mistake of a line or two. `PlantedRun` in Simulation has the runs that find them.
public enum PlantedBug: String, Sendable, CaseIterable {
    // MARK: The disk

    /// The simulated disk reports syncs that it did not do.
    case diskForgetsSyncs = "disk-forgets-syncs"
    /// Writes are acknowledged before the commit log is on disk, although the sync mode promises it.
    case acknowledgedBeforeSync = "acknowledged-before-sync"
    /// Replay skips the oldest of several segments, as if it were flushed.
    case replaySkipsSegment = "replay-skips-segment"
    /// A compaction drops a tombstone although an sstable outside its inputs has data the tombstone shadows.
    case shadowedDataOverlooked = "shadowed-data-overlooked"
    /// A compaction drops tombstones before `gc_grace_seconds` have passed.
    case gcGraceIgnored = "gc-grace-ignored"

    // MARK: Reads and writes

    /// One replica satisfies every consistency level.
    case oneIsEnough = "one-is-enough"
    /// Replicas that returned stale data to a read are not repaired.
    case readRepairOff = "read-repair-off"
    /// A read returns the first rows that arrive and does not compare other replicas' digests.
    case digestsNotCompared = "digests-not-compared"
    /// A page that is short because its rows were deleted counts as the last page.
    case shortReads = "short-reads"
    /// Hints are applied with the time of their delivery as write timestamp.
    case hintsRestamped = "hints-restamped"
    /// Logged batches are not logged.
    case batchlogOff = "batchlog-off"
    /// A logged batch is removed from the batchlog before it is written.
    case batchRemovedEarly = "batch-removed-early"
    /// A counter increment that was not answered is sent again.
    case counterTwice = "counter-twice"
    /// A repair skips the last range in which the Merkle trees differ.
    case repairSkipsStretch = "repair-skips-stretch"

    // MARK: Agreement

    /// A Paxos round does not complete a proposal that an earlier round may have accepted.
    case paxosForgetsAccepted = "paxos-forgets-accepted"
    /// A Paxos acceptor gives a promise and does not keep it.
    case paxosForgetsPromise = "paxos-forgets-promise"
    /// A Paxos acceptor answers before its state is on disk.
    case paxosNotSynced = "paxos-not-synced"
    /// On a node that is alone, a transaction reads a write that the commit log has refused, and decides upon it.
    case refusedWriteDecides = "refused-write-decides"
    /// Reads return rows that the commit log could not write.
    case refusedWriteSeen = "refused-write-seen"
    /// A schema change does not wait for a majority.
    case schemaWithoutMajority = "schema-without-majority"

    // MARK: Members

    /// A restarted node gossips with its old generation.
    case generationNotRaised = "generation-not-raised"
    /// Writes are not sent to pending replicas.
    case pendingNotWritten = "pending-not-written"
    /// A joining node serves before it has streamed the data of its ranges.
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

/// The planted bugs that are on in this process.
///
/// **Thread safety**: all methods, from any thread.
public enum PlantedBugs {
    private static let bits = Atomic<UInt64>(0)

    /// Whether a bug is on; always false outside of tests.
    public static func isOn(_ bug: PlantedBug) -> Bool {
        let bits = bits.load(ordering: .relaxed)
        return bits != 0 && bits & bug.bit != 0
    }

    /// Replaces the set of bugs that are on.
    public static func set(_ bugs: [PlantedBug]) { bits.store(bugs.reduce(0) { $0 | $1.bit }, ordering: .relaxed) }
}
