import Primitives

/// A run in which a planted bug shows: the simulation options and the first seed to try.
///
/// The options of all bugs are defined here. They are small, so that a seed takes one or two seconds. Without the bug,
/// the same runs report no violation.
public struct PlantedRun: Sendable {
    public var bug: PlantedBug
    /// All options but the seed.
    public var options: SimulationOptions
    /// A seed that found the bug when these options were chosen; start here for a quick check.
    public var firstSeed: UInt64

    public init(_ bug: PlantedBug) {
        switch bug {
        case .diskForgetsSyncs: self.init(bug, nodes: 1, seconds: 20, [.crash], ["registers"])
        case .acknowledgedBeforeSync:
            self.init(bug, nodes: 1, seconds: 20, [.crash], ["registers"], ["commitlog_sync=batch"])
        case .replaySkipsSegment: self.init(bug, nodes: 1, seconds: 20, [.kill], ["registers"])
        case .shadowedDataOverlooked: self.init(bug, nodes: 1, seconds: 40, [.upkeep], ["deletions"])
        case .gcGraceIgnored:
            self.init(
                bug, nodes: 3, seconds: 30, [.upkeep, .partition, .kill], ["deletions"],
                ["hinted_handoff_enabled=false"], firstSeed: 2)
        case .oneIsEnough: self.init(bug, nodes: 3, seconds: 15, [.partition, .pause], ["registers"])
        case .readRepairOff:
            self.init(
                bug, nodes: 3, seconds: 20, [.partition, .kill, .pause], ["registers"], ["hinted_handoff_enabled=false"]
            )
        case .digestsNotCompared: self.init(bug, nodes: 3, seconds: 15, [.partition, .kill], ["registers"])
        case .shortReads: self.init(bug, nodes: 3, seconds: 10, [.pause], ["deletions"])
        case .hintsRestamped:
            self.init(bug, nodes: 3, seconds: 20, [.partition, .kill], ["registers"], ["hinted_handoff_enabled=true"])
        case .batchlogOff: self.init(bug, nodes: 5, seconds: 40, [.partition, .kill], ["batches"])
        case .batchRemovedEarly: self.init(bug, nodes: 5, seconds: 40, [.partition, .kill], ["batches"])
        case .counterTwice: self.init(bug, nodes: 5, seconds: 20, [.breaks, .kill], ["counters"])
        case .repairSkipsStretch:
            // Batches are not read before the end, so no read repairs them.
            self.init(bug, nodes: 3, seconds: 10, [.partition, .kill], ["batches"], ["hinted_handoff_enabled=false"])
        case .paxosForgetsAccepted:
            self.init(bug, nodes: 3, seconds: 20, [.partition, .kill, .pause], ["transactions"])
        case .paxosForgetsPromise: self.init(bug, nodes: 3, seconds: 15, [.pause], ["transactions"])
        case .paxosNotSynced:
            self.init(bug, nodes: 3, seconds: 20, [.crash, .blackout], ["transactions"], ["commitlog_sync=periodic"])
        case .refusedWriteDecides:
            self.init(bug, nodes: 1, seconds: 30, [.full, .kill], ["transactions"], firstSeed: 9)
        case .refusedWriteSeen:
            self.init(bug, nodes: 1, seconds: 30, [.full, .blackout], ["registers", "deletions"], firstSeed: 4)
        case .schemaWithoutMajority: self.init(bug, nodes: 3, seconds: 40, [.partition, .pause], ["schema"])
        case .generationNotRaised: self.init(bug, nodes: 3, seconds: 60, [.kill, .crash], ["registers"], firstSeed: 27)
        // With a single replica no other replica hides what the new owner lacks.
        case .pendingNotWritten: self.init(bug, nodes: 1, seconds: 20, [.members], ["registers"])
        case .joinsWithoutCopy: self.init(bug, nodes: 1, seconds: 20, [.members], ["registers"])
        }
    }

    private init(
        _ bug: PlantedBug, nodes: Int, seconds: Int, _ faults: [FaultKind], _ workloads: [String],
        _ settings: [String] = [],
        firstSeed: UInt64 = 1
    ) {
        self.bug = bug
        self.firstSeed = firstSeed
        options = SimulationOptions()
        options.nodes = nodes
        options.seconds = seconds
        options.faults = faults
        options.workloads = workloads
        options.settings = settings
    }
}
