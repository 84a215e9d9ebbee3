import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

/// Changes of the metadata that this node makes, one at a time, in the order in which they were asked for.
///
/// SAFETY: `@unchecked Sendable` because everything is touched on loop 0 only.
final class ChangeQueue: @unchecked Sendable {
    typealias Step = @Sendable (ClusterMetadata) throws(ServerError) -> ClusterMetadata?

    struct Waiting {
        let step: Step
        let done: @Sendable (Result<Void, ServerError>) -> Void
    }

    var waiting: [Waiting] = []
    var isBusy = false
    /// More are refused.
    static let limit = 1000
}

/// Versions that an operation learned of.
///
/// SAFETY: `@unchecked Sendable` because it is written on loop 0 and read when the operation has ended.
private final class LearnedVersions: @unchecked Sendable {
    var values: [[UInt8]] = []
}

extension ClusterService {
    /// How long a change of the metadata may take, in microseconds.
    static let changeTimeout: Int64 = 10_000_000

    /// Makes a change of the metadata, in one order with those of all other nodes; waits until it is in force here.
    ///
    /// On a background thread.
    func change(_ step: @escaping ChangeQueue.Step) throws(ServerError) {
        if try metadata.changeAlone(hostID, step) { return }
        let box = Mutex<Result<Void, ServerError>>(.success(()))
        background.wait { resume in
            network.onLoop(0) { [self] in
                guard changes.waiting.count < ChangeQueue.limit else {
                    box.withLock { $0 = .failure(ServerError(.overloaded, "too many changes of the schema wait; slow down and try again")) }
                    return resume()
                }
                changes.waiting.append(
                    ChangeQueue.Waiting(step: step) { result in
                        box.withLock { $0 = result }
                        resume()
                    })
                nextChange()
            }
        }
        try box.withLock { $0 }.get()
    }

    /// Makes a change that is in force on every node when this returns, as TRUNCATE does, of which its errors speak; on a background thread.
    func changeEverywhere(_ step: @escaping ChangeQueue.Step) throws(ServerError) {
        let dead = others.count { !isAlive($0.node.id) }
        guard dead == 0 else {
            throw ServerError(
                .truncateError,
                "Truncate needs every node, and \(dead) of them \(dead == 1 ? "is" : "are") down; nothing was removed: bring them back or remove them, and try again"
            )
        }
        let deadline = now + configuration.truncateRequestTimeout.microseconds
        try change(step)
        guard let value = metadata.current?.encode() else { return }
        var waiting = others.map(\.node)
        while true {
            let replies = askAll(.metadata(.chosen(epoch: 0, value: value)), at: waiting.map { ($0.endpoint, $0.id) }, timeout: 2_000_000)
            waiting = zip(waiting, replies).compactMap { node, reply in
                if case .metadata = reply { return nil }
                return metadata.current?.member(node.id).map(\.node)
            }
            guard let late = waiting.first else { return }
            guard now < deadline, !hasStopped, waiting.allSatisfy({ isAlive($0.id) }) else {
                throw ServerError(
                    .truncateError,
                    "The rows are removed, but \(waiting.count == 1 ? "the node at \(late.endpoint) has" : "\(waiting.count) nodes have") not "
                        + "confirmed it: what is written there before they have may be removed as well. Try again when all nodes are up")
            }
            background.sleep(nanoseconds: 100_000_000)
        }
    }

    private var others: [ClusterMetadata.Member] { metadata.current?.members.filter { $0.node.id != hostID } ?? [] }

    private func nextChange() {
        guard !changes.isBusy, !changes.waiting.isEmpty else { return }
        let next = changes.waiting.removeFirst()
        guard let base = metadata.current, let view else {
            next.done(.failure(ServerError(.isBootstrapping, "this node has not joined its cluster yet")))
            return nextChange()
        }
        changes.isBusy = true
        let learned = LearnedVersions()
        let driver = drivers[0]
        driver.run({ coordinator in
            coordinator.changeMetadata(
                base: base, cluster: view, timeout: ClusterService.changeTimeout, now: driver.now,
                learned: { learned.values.append($0) }, change: next.step)
        }) { [self] result in
            let outcome = result.map { _ in () }
            background.run(.control) { [self] in
                var final = outcome
                for value in learned.values {
                    do { try metadata.install(value) } catch {
                        // Chosen all the same; this node takes it when it can.
                        tell("a version of the metadata cannot be taken: \(error)", level: .error)
                        if case .success = final {
                            final = .failure(ServerError(.serverError, "the change was made, but not here: \(error)"))
                        }
                    }
                }
                let told = final
                network.onLoop(0) { [self] in
                    changes.isBusy = false
                    next.done(told)
                    nextChange()
                }
            }
        }
    }

    // MARK: Members

    /// Makes a change of the members.
    func change(_ change: MemberChange) throws(ServerError) {
        let seed = seed &+ metadata.epoch
        try self.change { (metadata) throws(ServerError) in
            do throws(MemberChangeError) { return try change.apply(to: metadata, seed: seed) } catch {
                throw ServerError(error.isForLater ? .overloaded : .invalid, error.description)
            }
        }
    }

    /// Makes a change for a node that is not a member, or not one that may.
    func makeChange(_ bytes: [UInt8]) -> PeerReply {
        let change: MemberChange
        do throws(ByteError) { change = try MemberChange(decoding: bytes) } catch {
            return .failed(.unknown, "a change of the members does not parse: \(error)")
        }
        if case .replace(_, let dead) = change { endEarlierChange(without: dead) }
        do throws(ServerError) { try self.change(change) } catch {
            return .failed(error.code == .overloaded ? .overloaded : .unknown, error.message)
        }
        guard let now = metadata.current else { return .failed(.unknown, "this node has not joined its cluster yet") }
        return .metadata(.current(epoch: now.epoch, value: now.encode()))
    }

    // MARK: Leaving

    /// Gives this node's data to those who will own it, and leaves the cluster; on a background thread.
    func decommission() throws(ServerError) {
        try change(.leave(hostID))
        say(.leaving)
        do throws(ServerError) {
            try settleMembers()
            try move(for: hostID)
            try batches.handOver(self)
        } catch {
            do throws(ServerError) { try change(.abort(hostID)) } catch { tell("leaving could not be given up: \(error.message)") }
            say(.normal)
            throw error
        }
        try finish(hostID)
        hints.sendRest(for: 60)
        perform(gossip.withLock { $0?.leave(wall: time.wallMicroseconds()) ?? [] })
    }

    /// Has the others take over what a dead member owned; on a background thread.
    func remove(_ dead: UUID) throws(ServerError) {
        guard dead != hostID else { throw .invalid("this node is alive; it leaves by decommission") }
        guard let member = metadata.current?.member(dead) else { throw .invalid("no member has host id \(dead)") }
        guard gossip.withLock({ !($0?.isAlive(member) ?? false) }) else {
            throw .invalid("\(dead) at \(member.node.endpoint) is alive; let it leave itself (decommission)")
        }
        if !member.node.state.owns || member.node.state == .joining {
            try change(.abort(dead))
        } else {
            endEarlierChange(without: dead)
            try change(.leave(dead))
            try settleMembers()
            try move(for: dead)
            try finish(dead)
        }
        let effects = gossip.withLock { gossiper -> [GossipEffect] in
            do throws(GossipRemovalError) {
                return try gossiper?.remove(member.node.endpoint, now: now, wall: time.wallMicroseconds()) ?? []
            } catch { return [] }  // unknown to gossip: nothing has to be forgotten
        }
        perform(effects)
    }

    /// Makes the new owners the owners, and ends the writes to those of before when that is safe.
    func finish(_ id: UUID) throws(ServerError) {
        try change(.finish(id))
        // The change is done; what is left of it is made up for by whoever comes to it (`settleLater`).
        settle()
    }

    /// Ends the writes to the owners of before, when that is safe; else that is said, and they go on.
    private func settle(without dead: UUID? = nil, attempts: Int = 30) {
        do throws(ServerError) {
            try settleMembers(without: dead, attempts: attempts)
            try change(.settle)
        } catch { tell("the owners of before get writes for a while yet: \(error.message)") }
    }

    /// Ends a change that whoever made it did not live to end: the member with the smallest id among those that live does.
    func settleLater() {
        guard let known = metadata.current, !known.former.isEmpty, known.voters.first(where: { isAlive($0) }) == hostID else { return }
        background.run(.control) { [self] in settle() }
    }

    /// Ends an earlier change of the ring that waits for a node which, as its operator says now, does not come back: nobody can be changed before, and that
    /// one never again votes for the owners of before.
    private func endEarlierChange(without dead: UUID) {
        guard let known = metadata.current, !known.former.isEmpty, known.member(dead) != nil, !isAlive(dead) else { return }
        settle(without: dead, attempts: 1)
    }

    /// Waits until all live members go by the present version, and of the replicas of each range a majority, dead ones counted: then no quorum can be met
    /// by those who do not, since each of the others refuses what goes by other members.
    /// - Parameters:
    ///   - dead: one that does not come back; it need not be waited for.
    ///   - attempts: a second after each other.
    func settleMembers(without dead: UUID? = nil, attempts: Int = 30) throws(ServerError) {
        let epoch = metadata.epoch
        for attempt in 0..<attempts {
            if attempt > 0 { background.sleep(nanoseconds: 1_000_000_000) }
            if hasStopped { break }
            var aware: Set<UUID> = [hostID]
            if let dead { aware.insert(dead) }
            var isLate = false
            for member in metadata.current?.members ?? [] where member.node.id != hostID && isAlive(member.node.id) {
                let reply = ask(
                    .metadata(.fetch(after: epoch)), at: member.node.endpoint, wanted: member.node.id, timeout: 2_000_000)
                if case .metadata(.current(let known, _)) = reply, known >= epoch {
                    aware.insert(member.node.id)
                } else {
                    isLate = true
                }
            }
            if !isLate && isMajority(aware) { return }
        }
        throw ServerError(.unavailable, "too few members have taken the change of the ring over within \(attempts) seconds")
    }

    /// Whether these nodes are a majority of the replicas of every range, as it is owned now and as it was.
    private func isMajority(_ aware: Set<UUID>) -> Bool {
        guard let metadata = metadata.current, let schema = queries?.schema else { return false }
        let rings = [metadata.ring] + (metadata.formerRing.map { [$0] } ?? [])
        for keyspace in schema.keyspaces.values where !keyspace.isVirtual && !Schema.isSystem(keyspace.name) {
            for ring in rings {
                let strategy: ReplicationStrategy
                do throws(PlacementError) {
                    strategy = try ReplicationStrategy(options: keyspace.replication, dataCenters: ring.dataCenters)
                } catch { continue }
                let table = ReplicaTable(ring: ring, strategy: strategy)
                for index in 0..<table.rangeCount {
                    let replicas = table.replicaIDs(for: table.range(at: index).through)
                    // A single copy, or one of two, may be on a dead node: then nothing can be read there either.
                    if replicas.count > 2 && 2 * replicas.count(where: aware.contains) <= replicas.count { return false }
                }
            }
        }
        return true
    }
}

/// The schema's side of the metadata.
struct ClusterSchemaHost: SchemaHost {
    let cluster: ClusterService
    private let slowRequests = SlowRequestLog()

    init(cluster: ClusterService) { self.cluster = cluster }

    func change(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        try cluster.change(ClusterSchemaHost.step(change))
    }

    func changeEverywhere(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        try cluster.changeEverywhere(ClusterSchemaHost.step(change))
    }

    private static func step(_ change: @escaping SchemaStep) -> ChangeQueue.Step {
        { (metadata) throws(ServerError) in
            let schema: Schema
            do throws(SchemaDecodingError) { schema = try MetadataStore.schema(of: metadata) } catch {
                throw ServerError(.serverError, "the schema cannot be read: \(error)")
            }
            guard let next = try change(schema) else { return nil }
            var changed = metadata
            changed.schema = next.encode()
            return changed
        }
    }

    func slow(_ statement: String, milliseconds: Int) {
        if let line = slowRequests.line(statement, milliseconds: milliseconds, second: HybridClock.systemMicroseconds() / 1_000_000) {
            NodeLog.line(line)
        }
    }
}
