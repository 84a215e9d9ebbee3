import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query

/// Changes of the members, and the two steps that end each: the new owners own, then writes to the previous owners end.
///
/// A change of owners is safe when no quorum can be met by nodes that do not know it (`waitUntilKnown`).
///
/// **Thread safety**: all methods, on background threads, which they block, but for those that say otherwise.
struct RingChanges: Sendable {
    let changes: MetadataChanges
    let local: LocalNode
    let metadata: MetadataStore
    let liveness: Liveness
    let queries: QueryEngine
    let peers: PeerClient
    let background: any Background
    let log: OperatorLog
    let stop: StopSignal
    let seed: UInt64

    /// Makes a change of the members; waits until it is in force here.
    func make(_ change: MemberChange) throws(ServerError) {
        let seed = seed &+ metadata.epoch
        try changes.change { (metadata) throws(ServerError) in
            do throws(MemberChangeError) { return try change.apply(to: metadata, seed: seed) } catch {
                throw ServerError(error.mayRetryLater ? .overloaded : .invalid, error.description)
            }
        }
    }

    /// Makes a change for a node that is not a member, or not one that may vote.
    func make(encoded bytes: [UInt8]) -> PeerReply {
        let change: MemberChange
        do throws(ByteError) { change = try MemberChange(decoding: bytes) } catch {
            return .failed(.unknown, "a change of the members does not parse: \(error)")
        }
        if case .replace(_, let dead) = change { endEarlierChange(without: dead) }
        do throws(ServerError) { try make(change) } catch {
            return .failed(error.code == .overloaded ? .overloaded : .unknown, error.message)
        }
        guard let now = metadata.current else { return .failed(.unknown, "this node has not joined its cluster yet") }
        return .metadata(.current(epoch: now.epoch, value: now.encode()))
    }

    /// Makes the new owners of a node's change the owners, and ends writes to the previous owners when that is safe.
    func finish(_ id: UUID) throws(ServerError) {
        try make(.finish(id))
        // The change is done. If the writes cannot be ended now, `settleLater` of some node ends them.
        settle()
    }

    /// Ends writes to the previous owners when that is safe; otherwise says so, and they go on.
    private func settle(without dead: UUID? = nil, attempts: Int = 30) {
        do throws(ServerError) {
            try waitUntilKnown(without: dead, attempts: attempts)
            try make(.settle)
        } catch { log.report("still writing to the previous owners: \(error.message)") }
    }

    /// Ends writes to the previous owners after a change whose maker has died: the live voter that comes first does so.
    /// From any thread; returns at once.
    func settleLater() {
        guard let known = metadata.current, !known.former.isEmpty,
            known.voters.first(where: { liveness.isAlive($0) }) == local.hostID
        else { return }
        background.run(.control) { [self] in settle() }
    }

    /// Ends an earlier change of the ring that still waits for a dead node, which does not come back according to its
    /// operator.
    ///
    /// No other change can begin before. The dead node never again votes for the previous owners.
    func endEarlierChange(without dead: UUID) {
        guard let known = metadata.current, !known.former.isEmpty, known.member(dead) != nil, !liveness.isAlive(dead)
        else { return }
        settle(without: dead, attempts: 1)
    }

    /// Waits until all live members know the present version, and a majority of the replicas of each range, dead ones
    /// counted, does. Then the nodes that do not know it cannot meet a quorum, since the others refuse their requests.
    /// - Parameters:
    ///   - dead: one that does not come back; it need not be waited for.
    ///   - attempts: one a second.
    func waitUntilKnown(without dead: UUID? = nil, attempts: Int = 30) throws(ServerError) {
        let epoch = metadata.epoch
        for attempt in 0..<attempts {
            if attempt > 0 { background.sleep(nanoseconds: 1_000_000_000) }
            if stop.isSet { break }
            var aware: Set<UUID> = [local.hostID]
            if let dead { aware.insert(dead) }
            var isLate = false
            for member in metadata.current?.members ?? []
            where member.node.id != local.hostID && liveness.isAlive(member.node.id) {
                let reply = peers.ask(
                    .metadata(.fetch(after: epoch)), at: member.node.endpoint, wanted: member.node.id,
                    timeout: 2_000_000)
                if case .metadata(.current(let known, _)) = reply, known >= epoch {
                    aware.insert(member.node.id)
                } else {
                    isLate = true
                }
            }
            if !isLate && isMajority(aware) { return }
        }
        throw ServerError(
            .unavailable, "too few members have learned of the change of the ring within \(attempts) seconds")
    }

    /// Whether these nodes are a majority of the replicas of every range, by its present and by its previous owners.
    private func isMajority(_ aware: Set<UUID>) -> Bool {
        guard let metadata = metadata.current else { return false }
        let rings = [metadata.ring] + (metadata.previousRing.map { [$0] } ?? [])
        for keyspace in queries.schema.userKeyspaces {
            for ring in rings {
                let strategy: ReplicationStrategy
                do throws(PlacementError) {
                    strategy = try ReplicationStrategy(options: keyspace.replication, dataCenters: ring.dataCenters)
                } catch { continue }
                let table = ReplicaTable(ring: ring, strategy: strategy)
                for index in 0..<table.rangeCount {
                    let replicas = table.replicaIDs(for: table.range(at: index).through)
                    // A single copy, or one of two, may be on a dead node: then nothing can be read there either.
                    if replicas.count > 2 && 2 * replicas.count(where: aware.contains) <= replicas.count {
                        return false
                    }
                }
            }
        }
        return true
    }
}
