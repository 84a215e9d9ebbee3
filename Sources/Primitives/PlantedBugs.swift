import Synchronization

/// Defects the product can be told to have, so that the simulator can show that it would find them. Never on in a server.
public enum PlantedBug: String, Sendable, CaseIterable {
    /// The simulated disk says that it synced, and did not.
    case diskForgetsSyncs = "disk-forgets-syncs"
    /// Replicas that answered a read with old data are not repaired.
    case readRepairOff = "read-repair-off"
    /// Every consistency level is content with one replica.
    case oneIsEnough = "one-is-enough"
    /// Writes for a node that is down are not kept for it.
    case hintsOff = "hints-off"
    /// Logged batches are not logged.
    case batchlogOff = "batchlog-off"
    /// Rounds of Paxos do not finish what an earlier round may have accepted.
    case paxosForgetsAccepted = "paxos-forgets-accepted"
    /// A counter's increment is sent once more.
    case counterTwice = "counter-twice"
    /// Changes of the schema do not wait for a majority.
    case schemaWithoutMajority = "schema-without-majority"

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
