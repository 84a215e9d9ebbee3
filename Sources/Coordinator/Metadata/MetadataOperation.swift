import Cluster
import DataModel
import Messages
import Primitives

/// Changes the cluster metadata: the members of the current version choose the next one (Lamport's single-decree Paxos,
/// one instance per version).
///
/// 1. A quorum of the voters promises. A voter that knows a newer version returns it, and the change starts again on
///    that version.
/// 2. A value that was accepted before is completed first. Otherwise the change is applied to the current version and
///    proposed.
/// 3. A value accepted by a quorum is chosen. All live nodes are told, and the operation waits up to `tellTimeout` for
///    their replies.
/// 4. If the chosen value is not our change, the change starts again on it, unless another node has completed ours:
///    each version lists the changes it contains. The change may then find that there is nothing left to do.
/// 5. A voter that is behind receives the missing version and is asked again. A round that is refused, or in which too
///    few voters answer within `roundTimeout`, is retried after a pause, until the deadline. If our change was proposed
///    and no other version has taken its place, the client is told that the outcome is unknown.
final class MetadataOperation: Operation {
    private enum Phase { case preparing, accepting, telling, pausing }

    private var base: ClusterMetadata
    private let change: (ClusterMetadata) throws(ServerError) -> ClusterMetadata?
    /// Receives each version as it becomes known.
    private let learned: ([UInt8]) -> Void
    private var phase = Phase.preparing
    private var round = 0
    private var ballot = Ballot.none
    private var greatest = Ballot.none
    private var proposal: [UInt8] = []
    private var isOwn = false
    private var promises: Set<Int> = []
    private var accepted: Set<Int> = []
    private var told = 0
    private var lost: Set<Int> = []
    /// Voters that answered in this round, and voters that were sent the version they lacked.
    private var heard: Set<Int> = []
    private var caughtUp: Set<Int> = []
    /// Whether our change may yet be chosen as the next version.
    private var mayBeChosen = false
    /// The end of the phase, if no event ends it earlier.
    private var phaseEnd = Int64.max
    private var finished: (ballot: Ballot, value: [UInt8])?
    private var attempts = 0
    /// Identifies the change in the versions that contain it.
    private let number: UInt64

    static let tellTimeout: Int64 = 1_000_000
    /// Doubled with each of the first four attempts.
    static let roundTimeout: Int64 = 250_000

    init(
        _ coordinator: Coordinator, cluster: ClusterView, base: ClusterMetadata, deadline: Int64,
        learned: @escaping ([UInt8]) -> Void,
        change: @escaping (ClusterMetadata) throws(ServerError) -> ClusterMetadata?
    ) {
        self.base = base
        self.change = change
        self.learned = learned
        // Unique per node, even when two nodes have the same seed.
        number = Checksum.xxh3(
            coordinator.local.bytes, seed: coordinator.random.next() ^ UInt64(bitPattern: coordinator.clock.next()))
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    /// The indexes of the voters in the view. Members that the view does not know are not asked.
    private var voters: [Int] { base.voters.compactMap { cluster.ring.index(of: $0) } }
    private var quorum: Int { PlantedBugs.isOn(.schemaWithoutMajority) ? 1 : base.voters.count / 2 + 1 }

    override func start(now: Int64) { prepare(now: now) }

    private func prepare(now: Int64) {
        if base.recentChanges.contains(number) { return finish(.success(.done)) }
        do throws(ServerError) {
            guard try change(base) != nil else { return finish(.success(.done)) }
        } catch { return finish(.failure(error)) }
        let voters = voters
        if voters.count < quorum { return finish(.failure(noQuorum)) }
        begin(.preparing, for: roundTime, now: now)
        promises = []
        finished = nil
        ballot = Ballot(timestamp: max(coordinator.clock.next(), greatest.timestamp &+ 1), node: coordinator.local)
        for voter in voters { askVoter(voter, now: now) }
    }

    private var roundTime: Int64 { MetadataOperation.roundTimeout << Int64(min(attempts, 4)) }

    private func begin(_ next: Phase, for time: Int64, now: Int64) {
        round += 1
        phase = next
        // A pause keeps the answers of the previous round.
        if next != .pausing {
            lost = []
            heard = []
            caughtUp = []
        }
        phaseEnd = now + time
        wake(at: phaseEnd)
    }

    /// Sends a voter this phase's request.
    private func askVoter(_ voter: Int, now: Int64) {
        switch phase {
        case .preparing: ask(voter, .metadata(.prepare(epoch: base.epoch, ballot)), tag: round, now: now)
        case .accepting:
            ask(voter, .metadata(.accept(epoch: base.epoch, ballot, value: proposal)), tag: round, now: now)
        case .telling, .pausing: break
        }
    }

    private var noQuorum: ServerError {
        ServerError(
            .unavailable,
            "The schema and the members can only be changed with a majority of the \(base.voters.count) members; too few answer",
            detail: .unavailable(
                consistency: .quorum, required: Int32(quorum), alive: Int32(min(heard.count, quorum - 1))))
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
        // A voter that was behind has caught up: ask it again.
        if tag == -round, case .metadata(.accepted) = reply { return askVoter(node, now: now) }
        if tag == -round { return lose(node, now: now) }
        guard tag == round else { return }
        if case .metadata = reply { heard.insert(node) }
        switch (phase, reply) {
        case (_, .metadata(.current(_, let value))) where phase != .telling: adopt(value, now: now)
        case (.preparing, .metadata(.promise(let ballot, let value))):
            promises.insert(node)
            if let ballot, finished.map({ $0.ballot < ballot }) ?? true { finished = (ballot, value) }
            if promises.count >= quorum { propose(now: now) }
        case (.accepting, .metadata(.accepted)):
            accepted.insert(node)
            if accepted.count >= quorum { chosen(now: now) }
        case (.preparing, .metadata(.refused(let promised))), (.accepting, .metadata(.refused(let promised))):
            greatest = max(greatest, promised)
            pause(now: now)
        case (.preparing, .metadata(.behind)), (.accepting, .metadata(.behind)):
            guard caughtUp.insert(node).inserted else { return lose(node, now: now) }
            ask(node, .metadata(.chosen(epoch: base.epoch - 1, value: base.encode())), tag: -round, now: now)
        case (.telling, _):
            told -= 1
            if told == 0 { told(now: now) }
        default: lose(node, now: now)
        }
    }

    private func lose(_ node: Int, now: Int64) {
        lost.insert(node)
        if voters.count - lost.count < quorum { pause(now: now) }
    }

    private func adopt(_ value: [UInt8], now: Int64) {
        let newer: ClusterMetadata
        do throws(ByteError) { newer = try ClusterMetadata(decoding: value) } catch { return }
        guard newer.epoch > base.epoch else { return }
        base = newer
        // Another version has taken the place of ours.
        mayBeChosen = false
        learned(value)
        prepare(now: now)
    }

    private func propose(now: Int64) {
        begin(.accepting, for: roundTime, now: now)
        accepted = []
        if let finished {
            proposal = finished.value
            isOwn = false
        } else {
            do throws(ServerError) {
                guard var next = try change(base) else { return finish(.success(.done)) }
                next.epoch = base.epoch + 1
                next.note(change: number)
                proposal = next.encode()
                isOwn = true
                mayBeChosen = true
            } catch { return finish(.failure(error)) }
        }
        for voter in voters { askVoter(voter, now: now) }
    }

    private func chosen(now: Int64) {
        learned(proposal)
        begin(.telling, for: MetadataOperation.tellTimeout, now: now)
        told = 0
        for node in cluster.ring.nodes.indices where cluster.isAlive[node] && node != cluster.local {
            told += 1
            ask(node, .metadata(.chosen(epoch: base.epoch, value: proposal)), tag: round, now: now)
        }
        if told == 0 { told(now: now) }
    }

    private func told(now: Int64) {
        if isOwn { return finish(.success(.done)) }
        let value = proposal
        adopt(value, now: now)
    }

    private func pause(now: Int64) {
        attempts += 1
        let most = UInt64(10_000 << min(attempts, 5))
        begin(.pausing, for: 1_000 + Int64(coordinator.random.next() % most), now: now)
    }

    override func woken(now: Int64) {
        // The phase for which this wake-up was meant may be over.
        if now < phaseEnd { return }
        switch phase {
        case .pausing: prepare(now: now)
        case .telling: told(now: now)
        case .preparing, .accepting: pause(now: now)
        }
    }

    override func expire(now: Int64) {
        if isFinished { return }
        if phase == .telling && isOwn { return finish(.success(.done)) }
        guard mayBeChosen else { return finish(.failure(noQuorum)) }
        finish(
            .failure(
                ServerError(
                    .serverError, "It is not known whether the change was made: too few members answered in time")))
    }
}

extension Coordinator {
    /// Changes the cluster metadata.
    /// - Parameters:
    ///   - base: the newest version known here.
    ///   - learned: called with every chosen version, before the result.
    ///   - change: computes the next version from the current one; nil when there is nothing to change. Called again
    ///     when other changes came first.
    public func changeMetadata(
        base: ClusterMetadata, cluster: ClusterView, timeout: Int64, now: Int64, learned: @escaping ([UInt8]) -> Void,
        change: @escaping (ClusterMetadata) throws(ServerError) -> ClusterMetadata?
    ) -> UInt64 {
        begin(
            MetadataOperation(
                self, cluster: cluster, base: base, deadline: now + timeout, learned: learned, change: change), now: now
        )
    }
}
