import Cluster
import DataModel
import Messages
import Primitives
import Query
import Replica

/// A range of one table that a node is to hold, and the nodes that have it.
struct TableMove: Sendable {
    let table: UUID
    let range: TokenRange
    let receiver: UUID
    /// Each has something that the receiver needs.
    let sources: [UUID]
}

/// What changes hands when the change of one node is done, and where the new owners get it from.
struct MovePlan {
    private(set) var moves: [TableMove] = []
    private let alive: Set<UUID>
    /// Nodes that own nothing after the change.
    private let departing: Set<UUID>
    private let log: OperatorLog

    /// - Parameters:
    ///   - id: the node that joins or leaves.
    ///   - alive: members that count as alive, with this one.
    /// - Throws: `unavailable` when a dead member alone may hold what changes hands.
    init(
        for id: UUID, _ metadata: ClusterMetadata, _ schema: Schema, alive: Set<UUID>, log: OperatorLog
    ) throws(ServerError) {
        let before = metadata.ring
        let after = before.after { $0.id == id }
        self.alive = alive
        self.log = log
        departing = Set(before.nodes.map(\.id)).subtracting(after.nodes.filter { $0.state != .left }.map(\.id))
        for keyspace in schema.userKeyspaces {
            let strategy: ReplicationStrategy
            do throws(PlacementError) {
                strategy = try ReplicationStrategy(options: keyspace.replication, dataCenters: after.dataCenters)
            } catch { continue }
            if case .local = strategy { continue }
            let old = ReplicaTable(ring: before, strategy: strategy)
            let new = ReplicaTable(ring: after, strategy: strategy)
            for transfer in old.transfers(to: new) {
                let owners = new.replicaIDs(for: transfer.range.through)
                let losing = transfer.sources.filter { !owners.contains($0) }
                let sources = try sources(of: transfer, losing: losing, keyspace: keyspace.name)
                if sources.isEmpty { continue }
                for table in keyspace.sortedTables.map(\.id) + [PaxosAcceptor.table] {
                    moves.append(
                        TableMove(
                            table: table, range: transfer.range, receiver: transfer.receiver, sources: sources))
                }
            }
        }
    }

    /// The nodes a range is read from.
    ///
    /// Those that lose it, so that the new owner holds what they held, whatever consistency level it was written at.
    /// Where one of them is dead, all live replicas, if a write acknowledged at QUORUM must be on one of them.
    private func sources(
        of transfer: RangeTransfer, losing: [UUID], keyspace: String
    ) throws(ServerError) -> [UUID] {
        if !losing.isEmpty && losing.allSatisfy(alive.contains) { return losing }
        let living = transfer.sources.filter(alive.contains)
        // A live replica has every write that a majority acknowledged, as long as fewer than a majority are dead.
        let dead = transfer.sources.filter { !alive.contains($0) }
        let isCovered = dead.count < transfer.sources.count / 2 + 1
        if !isCovered, let lost = dead.first(where: { !departing.contains($0) }) {
            throw ServerError(
                .unavailable,
                "\(lost) is down, and may hold the only copy of writes to a range that it would give up; bring it back "
                    + "or remove it, then try again")
        }
        if living.isEmpty {
            log.report(
                "keyspace \(keyspace): no replica of a range that gets a new owner is alive; its rows are lost",
                level: .error)
        } else if !dead.allSatisfy(departing.contains) {
            log.report(
                "keyspace \(keyspace): a replica of ranges that get new owners is down, and may hold the only copy of "
                    + "writes below QUORUM: bring it back and run auspex admin repair")
        }
        return living
    }
}
