import DataModel
import Messages
import Primitives

/// Closes a round of Paxos: a quorum accepts the value, then it is committed at the client's consistency level.
///
/// 1. Once a quorum has accepted, the value is chosen, whatever happens later.
/// 2. If every asked replica refused, the value is chosen nowhere and the transaction may start again (`contended`).
///    This requires that each replica processes a proposal at most once: a refused duplicate would hide an accepted
///    original. An empty proposal may always start again: whether it is chosen makes no difference.
/// 3. Otherwise the outcome is unknown. The client gets a write timeout of type CAS, and nothing is retried behind its
///    back.
final class ProposeOperation: Operation {
    private let key: PaxosKey
    private let ballot: Ballot
    private let value: [UInt8]
    private let members: PaxosMembers
    private let commitLevel: Consistency
    private let replication: Replication
    private let writers: [Int]
    private var accepted: Set<Int> = []
    private var refusals = 0
    private var silent = 0
    private var isCommitting = false
    private var committed: ResponseTracker
    private var settled: Set<Int> = []
    private var failures = 0

    /// - Parameters:
    ///   - value: whole encoded mutations; empty to close the round without a change.
    ///   - commitLevel: the level at which replicas must have applied the value before the client is told; ANY: none.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, key: PaxosKey, ballot: Ballot, value: [UInt8],
        members: PaxosMembers,
        replication: Replication, commitLevel: Consistency, deadline: Int64
    ) {
        self.key = key
        self.ballot = ballot
        self.value = value
        self.members = members
        self.commitLevel = commitLevel
        self.replication = replication
        let token = key.partition.withUnsafeBytes { ClusterView.token($0) }
        let table = cluster.placement(of: key.table)?.table
        writers = table.map { $0.writeReplicas(for: token).map { Int($0) } } ?? []
        let pending = table.map { $0.pendingReplicas(for: token).map { cluster.dataCenter(Int($0)) } } ?? []
        committed = ResponseTracker(commitLevel, replication, near: cluster.dataCenter(cluster.local), pending: pending)
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        if let error = members.unavailable { return finish(.failure(error)) }
        let writable = writers.filter { cluster.isAlive[$0] }
        if !value.isEmpty, commitLevel != .any, !committed.couldBeMet(with: writable, in: cluster) {
            // Report it now, while nothing is chosen.
            let counted = writable.filter { committed.counts(isNear: cluster.isNear[$0]) }
            return finish(
                .failure(CoordinatorErrors.unavailable(commitLevel, required: committed.required, alive: counted.count))
            )
        }
        for node in members.alive { ask(node, .propose(key, ballot, value: value), tag: 0, now: now) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if tag == 1 { return receiveCommit(reply, from: node) }
        if isCommitting || isFinished { return }
        switch reply {
        case .accepted(true, _):
            accepted.insert(node)
            if accepted.count >= members.quorum { commit(now: now) } else { endIfQuorumImpossible() }
        case .accepted(false, let promised):
            coordinator.clock.observe(promised.timestamp)
            refusals += 1
            endIfQuorumImpossible()
        default:
            silent += 1
            endIfQuorumImpossible()
        }
    }

    private func endIfQuorumImpossible() {
        guard members.alive.count - refusals - silent < members.quorum else { return }
        if value.isEmpty && refusals > 0 { return finish(.success(.contended)) }
        // A value that one replica accepted may yet be completed by another round.
        if refusals == members.alive.count { return finish(.success(.contended)) }
        if refusals + silent + accepted.count == members.alive.count { finish(.failure(unknown)) }
    }

    private var unknown: ServerError {
        var error = CoordinatorErrors.writeTimeout(
            members.consistency, .cas, received: accepted.count, required: members.quorum)
        error.message =
            "CAS operation timed out: received \(accepted.count) of \(members.quorum) required responses; it may or may not have been applied."
        return error
    }

    private func commit(now: Int64) {
        isCommitting = true
        // A round without a change is over when a quorum has accepted it.
        if value.isEmpty || commitLevel == .any { finish(.success(.done)) }
        for node in writers {
            if cluster.isAlive[node] {
                ask(node, .commit(key, ballot, value: value), tag: 1, now: now)
            } else {
                keepHint(node)
            }
        }
    }

    private func keepHint(_ node: Int) {
        settled.insert(node)
        if !value.isEmpty { coordinator.hint(value, for: cluster.ring.nodes[node].id, of: self) }
    }

    private func receiveCommit(_ reply: PeerReply, from node: Int) {
        if case .done = reply {
            settled.insert(node)
            committed.add(node, in: cluster)
        } else {
            failures += 1
            keepHint(node)
        }
        if isFinished { return }
        if committed.isMet { return finish(.success(.done)) }
        let waiting = writers.filter { cluster.isAlive[$0] && !settled.contains($0) }
        if !committed.couldBeMet(with: waiting, in: cluster) {
            finish(
                .failure(
                    CoordinatorErrors.writeFailure(
                        commitLevel, .simple, received: committed.total, required: committed.required,
                        failures: failures)))
        }
    }

    override func expire(now: Int64) {
        if isCommitting {
            for node in writers where cluster.isAlive[node] && !settled.contains(node) { keepHint(node) }
        }
        if isFinished { return }
        coordinator.count { $0.timeouts += 1 }
        if isCommitting {
            finish(
                .failure(
                    CoordinatorErrors.writeTimeout(
                        commitLevel, .simple, received: committed.total, required: committed.required)))
        } else {
            finish(.failure(unknown))
        }
    }
}
