import DataModel
import Messages
import Primitives

/// Opens a round of Paxos on one partition (Lamport 1998; one register per partition, as in Cassandra).
///
/// 1. A quorum of the replicas promises a ballot greater than any seen.
/// 2. Replicas that missed the last committed round are sent it. The operation waits until a quorum of the promising
///    replicas has it. Replicas that promise meanwhile count too.
/// 3. A proposal that was accepted but not committed is completed under our ballot first; then the operation starts
///    again.
/// 4. With a quorum of promises and nothing unfinished, the round is open: the proposal builds on a quorum read made
///    now. That read comes with the promises, which saves a round trip, if the promising replicas had missed nothing
///    and agree, and no replica is pending.
/// 5. A ballot is also the timestamp of the round's writes, so its timestamp must be later than the last committed
///    one's; a greater ballot is not enough.
///
/// A refused ballot is raised above the one it lost to, after a random and growing pause, until the deadline.
final class PrepareOperation: Operation {
    private enum Phase: Int { case preparing = 1, catchingUp, finishing, committing, pausing }

    private let key: PaxosKey
    private let members: PaxosMembers
    private var phase = Phase.preparing
    private var round = 0
    private var ballot = Ballot.none
    private var promises: [Int: PaxosPromise] = [:]
    private var answers: Set<Int> = []
    /// Members that are being sent the last committed round.
    private var behind: Set<Int> = []
    /// The last committed round, as far as the promises tell.
    private var newest: (ballot: Ballot, value: [UInt8]) = (.none, [])
    private var greatest = Ballot.none
    /// Members that will not answer in this phase.
    private var lost: Set<Int> = []
    private var attempts = 0
    private var unfinished: (ballot: Ballot, value: [UInt8])?
    private let reading: ReadCommand?
    private var found: ReadAnswer?

    /// - Parameter reading: the read to make once the round is open.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, key: PaxosKey, reading: ReadCommand?, members: PaxosMembers,
        deadline: Int64
    ) {
        self.key = key
        self.reading = members.hasPending ? nil : reading
        self.members = members
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        if let error = members.unavailable { return finish(.failure(error)) }
        prepare(now: now)
    }

    private func prepare(now: Int64) {
        round += 1
        phase = .preparing
        promises = [:]
        lost = []
        if greatest != .none { coordinator.clock.observe(greatest.timestamp) }
        ballot = Ballot(timestamp: max(coordinator.clock.next(), greatest.timestamp &+ 1), node: coordinator.local)
        for node in members.alive { ask(node, .prepare(key, ballot, reading: reading), tag: round, now: now) }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
        guard tag == round else {
            if phase == .catchingUp, tag == round - 1, case .promise(let promise) = reply {
                promisedLate(promise, from: node, now: now)
            }
            return
        }
        switch (phase, reply) {
        case (.preparing, .promise(let promise)):
            promises[node] = promise
            if !promise.isPromised { greatest = max(greatest, promise.promised) }
            promised(now: now)
        case (.catchingUp, .done), (.committing, .done):
            answers.insert(node)
            if answers.count >= members.quorum { phase == .catchingUp ? proceed(now: now) : prepare(now: now) }
        case (.finishing, .accepted(let isAccepted, let promised)):
            if isAccepted {
                answers.insert(node)
                if answers.count >= members.quorum { commitUnfinished(now: now) }
            } else {
                greatest = max(greatest, promised)
                pause(now: now)
            }
        default: failed(node, now: now)
        }
    }

    private func failed(_ node: Int, now: Int64) {
        lost.insert(node)
        switch phase {
        case .preparing: endIfQuorumImpossible(now: now)
        case .catchingUp:
            // Another attempt may reach replicas that have missed nothing.
            if answers.union(behind).subtracting(lost).count < members.quorum { pause(now: now) }
        case .finishing, .committing: if members.alive.count - lost.count < members.quorum { fail() }
        case .pausing: break
        }
    }

    private func fail() {
        finish(
            .failure(
                CoordinatorErrors.writeFailure(
                    members.consistency, .cas, received: promises.filter(\.value.isPromised).count,
                    required: members.quorum,
                    failures: lost.count)))
    }

    private func promised(now: Int64) {
        if promises.count(where: \.value.isPromised) >= members.quorum { return inspect(now: now) }
        endIfQuorumImpossible(now: now)
    }

    /// Gives up as soon as a quorum is impossible: retries if some member refused, fails otherwise.
    private func endIfQuorumImpossible(now: Int64) {
        let refusals = promises.filter { !$0.value.isPromised }.count
        guard members.alive.count - refusals - lost.count < members.quorum else { return }
        if refusals > 0 { pause(now: now) } else { fail() }
    }

    /// Finds out what the promising members have missed.
    private func inspect(now: Int64) {
        let given = promises.filter(\.value.isPromised).sorted { $0.key < $1.key }
        guard let newest = given.map(\.value.committed).max(by: { $0.ballot < $1.ballot }) else { return }
        guard ballot.timestamp > newest.ballot.timestamp else {
            greatest = max(greatest, newest.ballot)
            return prepare(now: now)
        }
        self.newest = newest
        findUnfinished()
        let missing = given.filter { $0.value.committed.ballot < newest.ballot }.map(\.key)
        answers = Set(given.map(\.key)).subtracting(missing)
        found = missing.isEmpty ? PrepareOperation.agreed(given.map(\.value.found)) : nil
        if missing.isEmpty { return proceed(now: now) }
        round += 1
        phase = .catchingUp
        behind = []
        lost = []
        for node in missing { catchUp(node, now: now) }
    }

    private func catchUp(_ node: Int, now: Int64) {
        behind.insert(node)
        ask(node, .commit(key, newest.ballot, value: newest.value), tag: round, now: now)
    }

    /// Finds the newest proposal that was accepted but not committed.
    private func findUnfinished() {
        let accepted = promises.values.filter(\.isPromised).compactMap(\.accepted).filter { $0.ballot > newest.ballot }
        unfinished = PlantedBugs.isOn(.paxosForgetsAccepted) ? nil : accepted.max { $0.ballot < $1.ballot }
    }

    /// Processes a promise that arrives while members catch up: its member may complete the quorum sooner than they.
    private func promisedLate(_ promise: PaxosPromise, from node: Int, now: Int64) {
        guard promise.isPromised else { return }
        promises[node] = promise
        if promise.committed.ballot > newest.ballot { return inspect(now: now) }
        findUnfinished()
        if promise.committed.ballot < newest.ballot { return catchUp(node, now: now) }
        answers.insert(node)
        if answers.count >= members.quorum { proceed(now: now) }
    }

    /// Returns the answer if all are the same.
    private static func agreed(_ answers: [ReadAnswer?]) -> ReadAnswer? {
        guard let first = answers.first, let first else { return nil }
        return answers.dropFirst().allSatisfy { $0 == first || $0?.digest == first.digest } ? first : nil
    }

    private func proceed(now: Int64) {
        guard let unfinished else { return finish(.success(.ballot(ballot, found: found))) }
        round += 1
        phase = .finishing
        answers = []
        lost = []
        for node in members.alive { ask(node, .propose(key, ballot, value: unfinished.value), tag: round, now: now) }
    }

    private func commitUnfinished(now: Int64) {
        guard let unfinished else { return }
        round += 1
        phase = .committing
        answers = []
        lost = []
        for node in members.alive { ask(node, .commit(key, ballot, value: unfinished.value), tag: round, now: now) }
    }

    private func pause(now: Int64) {
        round += 1
        phase = .pausing
        attempts += 1
        let most = Int64(min(100_000, 2_000 << min(attempts, 6)))
        wake(at: now + 500 + Int64(coordinator.random.next() % UInt64(most)))
    }

    override func woken(now: Int64) { if phase == .pausing { prepare(now: now) } }

    override func expire(now: Int64) {
        if isFinished { return }
        coordinator.count { $0.timeouts += 1 }
        finish(
            .failure(
                CoordinatorErrors.writeTimeout(
                    members.consistency, .cas, received: promises.filter(\.value.isPromised).count,
                    required: members.quorum)))
    }
}

/// The replicas that vote on a partition.
struct PaxosMembers {
    /// Live replicas, natural and pending; with LOCAL_SERIAL only those of this data center.
    let alive: [Int]
    let quorum: Int
    let consistency: Consistency
    private let isChanging: Bool
    let hasPending: Bool

    /// - Parameter consistency: SERIAL or LOCAL_SERIAL.
    init?(_ cluster: ClusterView, table: UUID, token: Int64, consistency: Consistency) {
        guard let placement = cluster.placement(of: table) else { return nil }
        let isLocal = consistency == .localSerial
        let natural = placement.table.replicas(for: token).map { Int($0) }.filter { !isLocal || cluster.isNear[$0] }
        let pending = placement.table.pendingReplicas(for: token).map { Int($0) }.filter {
            !isLocal || cluster.isNear[$0]
        }
        self.consistency = consistency
        // With one pending replica this is a majority of both the previous and the next owners. With more, no such
        // number exists.
        quorum = (natural.count + pending.count) / 2 + 1
        isChanging = pending.count > 1
        hasPending = !pending.isEmpty
        alive = (natural + pending).filter { cluster.isAlive[$0] }
    }

    var unavailable: ServerError? {
        if isChanging {
            var error = CoordinatorErrors.unavailable(consistency, required: alive.count + 1, alive: alive.count)
            error.message =
                "Cannot perform LWT operation while more than one replica of the partition is being added; try again later"
            return error
        }
        return alive.count >= quorum
            ? nil : CoordinatorErrors.unavailable(consistency, required: quorum, alive: alive.count)
    }
}
