import Cluster
import Primitives
import Repair

/// Operations on a node, for code that runs nodes in its own process. All methods wait: call them on a thread that may
/// block.
extension NodeServer {
    /// The result of a repair.
    public struct RepairOutcome: Sendable {
        /// Whether everything was compared, and all missing data was sent.
        public var isComplete = true
        /// The number of ranges in which replicas differed.
        public var differing = 0
        public var rowsSent = 0
        public var failures: [String] = []
    }

    /// Streams this node's data to the other nodes, leaves the cluster and drains.
    public func leaveCluster() throws {
        try cluster.leaving.decommission()
        drain()
    }

    /// Removes a dead member; other nodes take over its ranges.
    public func removeMember(_ id: UUID) throws { try cluster.leaving.remove(id) }

    /// Repairs all ranges of all tables.
    /// - Parameter isPreview: only compares the replicas.
    public func repairEverything(isPreview: Bool) throws -> RepairOutcome {
        var request = RepairRequest()
        request.isEverywhere = true
        request.isPreview = isPreview
        request.isFresh = true
        var outcome = RepairOutcome()
        for (keyspace, report) in try cluster.repair.run(request) {
            outcome.isComplete = outcome.isComplete && (isPreview ? report.failed == 0 : report.isComplete)
            outcome.differing += report.differing
            outcome.rowsSent += report.sent.rows
            outcome.failures += report.failures.map {
                "\(keyspace): table \($0.table), tokens \($0.tokens), node \($0.node): \($0.reason)"
            }
        }
        return outcome
    }

    /// Flushes all tables and, if wanted, compacts each into one sstable.
    public func flushOrCompactTables(compacts: Bool) throws {
        for table in storage.allTables.sorted(by: { $0.directory < $1.directory }) {
            try compacts ? storage.compactAll(table) : storage.flush(table)
        }
    }

    /// Members that this node considers down.
    public var deadMembers: [UUID] {
        (cluster.metadata.current?.members ?? []).map(\.node.id).filter {
            $0 != hostID && !cluster.liveness.isAlive($0)
        }
    }

    /// The epoch of the cluster metadata that this node knows.
    public var metadataEpoch: UInt64 { cluster.metadata.epoch }

    /// The members that this node knows, and their states as text.
    public var memberStates: [(id: UUID, state: String)] {
        (cluster.metadata.current?.members ?? []).map { ($0.node.id, $0.node.state.name) }
    }

    /// Whether this node knows of no ring change in progress and of no previous owners that still get writes.
    public var isRingSettled: Bool {
        guard let metadata = cluster.metadata.current else { return false }
        return metadata.ring.changing.isEmpty && metadata.former.isEmpty
    }
}
