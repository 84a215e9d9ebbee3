import Cluster
import Primitives
import Repair

/// What an operator asks of a node, for those who run nodes in their own process. All but the properties wait; call them where that is allowed.
extension NodeServer {
    /// What a repair found and did.
    public struct RepairOutcome: Sendable {
        /// Whether all was looked at, and sent where it was missing.
        public var isComplete = true
        /// Stretches in which replicas differed.
        public var differing = 0
        public var rowsSent = 0
        public var failures: [String] = []
    }

    /// Gives this node's data to the others, leaves the cluster and drains.
    public func leaveCluster() throws {
        try cluster.leaving.decommission()
        drain()
    }

    /// Has the others take over what a dead member owned.
    public func removeMember(_ id: UUID) throws { try cluster.leaving.remove(id) }

    /// Makes the replicas of everything equal.
    /// - Parameter isPreview: only looks whether they are.
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
            outcome.failures += report.failures.map { "\(keyspace): table \($0.table), tokens \($0.tokens), node \($0.node): \($0.reason)" }
        }
        return outcome
    }

    /// Writes out what all tables have in memory, and merges the files of each where that is wanted.
    public func tidyTables(compacts: Bool) throws {
        for table in storage.allTables.sorted(by: { $0.directory < $1.directory }) {
            try compacts ? storage.compactAll(table) : storage.flush(table)
        }
    }

    /// Members that this node does not hold for alive.
    public var deadMembers: [UUID] {
        (cluster.metadata.current?.members ?? []).map(\.node.id).filter { $0 != hostID && !cluster.liveness.isAlive($0) }
    }

    /// The version of the members and the schema that this node knows.
    public var metadataEpoch: UInt64 { cluster.metadata.epoch }

    /// The members this node knows, and what each is doing, in words.
    public var memberStates: [(id: UUID, state: String)] {
        (cluster.metadata.current?.members ?? []).map { member in
            let state =
                switch member.node.state {
                case .joining: "joining"
                case .normal: "normal"
                case .leaving: "leaving"
                case .left: "left"
                case .moving: "moving"
                case .replacing: "replacing"
                }
            return (member.node.id, state)
        }
    }

    /// Whether no change of the ring is under way, and no owners of before are left, as far as this node knows.
    public var isRingSettled: Bool {
        guard let metadata = cluster.metadata.current else { return false }
        return metadata.ring.changing.isEmpty && metadata.former.isEmpty
    }
}
