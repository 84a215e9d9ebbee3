import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Replica

/// Carries out what the coordinator of one loop wants done: sends, hears answers, tells the time.
///
/// This node is asked by a call; what it writes is answered when it is safe. Everything runs on the loop, but for `begin` of a request that may
/// wait: that one comes from a thread of the pool.
///
/// SAFETY: `@unchecked Sendable` because everything is touched on the loop only.
final class LoopDriver: StepRunner, @unchecked Sendable {
    typealias Completion = @Sendable (Result<Outcome, ServerError>) -> Void

    let loop: Int
    let coordinator: Coordinator
    private let platform: DriverPlatform
    private let service: ReplicaService
    /// Set before anything begins.
    unowned var cluster: (any DriverCluster)?
    private(set) lazy var links = PeerLinks(
        loop: loop, network: platform.network, time: platform.time, cluster: cluster, byteLimit: platform.byteLimit
    ) { [unowned self] id, reply in answered(id, reply) }
    /// The cluster as requests see it that begin now; nil before the node belongs to one.
    var view: ClusterView? {
        didSet {
            guard let view, view.epoch != oldValue?.epoch else { return }
            endpoints = Dictionary(view.ring.nodes.map { ($0.id, $0.endpoint) }, uniquingKeysWith: { first, _ in first })
        }
    }
    /// Of the members of the view.
    private var endpoints: [UUID: Endpoint] = [:]
    private var completions: [UInt64: Completion] = [:]
    /// Requests of this node's own, which no operation of the coordinator asks.
    private var asks: [UInt64: (PeerReply) -> Void] = [:]
    private var nextAsk: UInt64 = 1 << 62
    private var isPumping = false
    /// Of effects that were carried out.
    private var room: [Coordinator.Effect] = []
    /// Operations of which a hint was not kept.
    private var lackingHints: Set<UInt64> = []
    /// Results whose takers may begin new operations: told when the effects are all carried out.
    private var finished: [(Completion, Result<Outcome, ServerError>)] = []
    private var timerAt = Int64.max
    /// The operation of a step that begins now, and its result when it has one at once.
    private var beginning: UInt64 = 0
    private var immediate: Result<Outcome, ServerError>?

    init(loop: Int, coordinator: Coordinator, platform: DriverPlatform, service: ReplicaService) {
        self.loop = loop
        self.coordinator = coordinator
        self.platform = platform
        self.service = service
    }

    /// Monotonic microseconds.
    var now: Int64 { Int64(platform.time.monotonicNanoseconds() / 1000) }

    // MARK: Requests of clients

    func begin(_ step: Step, for port: ClusterPort) throws(ServerError) -> Outcome? {
        if port.mayWait { return try wait(step, port) }
        let id = try start(step, port)
        beginning = id
        carryOutEffects()
        beginning = 0
        // The request is being executed: others must not be run again inside it.
        if !finished.isEmpty { platform.network.onLoop(loop) { [self] in tellFinished() } }
        let done: Completion = { result in port.complete(result) }
        let time = now
        if let result = immediate {
            immediate = nil
            if case .success(.hinted) = result {
                finishWithHints(done)
            } else if mayBeginAnew(step, result, began: time) {
                beginAnew(step, port, began: time, after: result, done)
            } else {
                return try result.get()
            }
            return nil
        }
        completions[id] = { [self] result in ended(step, port, began: time, result, done) }
        return nil
    }

    /// Has the request wait for its turn, at most for half as long as a transaction may contend; then it goes on without.
    func takeTurn(_ key: PaxosKey, for port: ClusterPort) -> Bool {
        // The request keeps its port; the queue must not, or the port would never end and leave it.
        let (turn, isFirst) = platform.turns.take(key) { [platform, loop, weak port] in
            platform.network.onLoop(loop) { [weak port] in port?.turnCame() }
        }
        port.turn = turn
        if !isFirst {
            platform.network.schedule(loop: loop, nanoseconds: UInt64(coordinator.limits.casContentionTimeout) * 500) { [weak port] in
                port?.turnCame()
            }
        }
        return isFirst
    }

    // MARK: Newer members

    private func ended(
        _ step: Step, _ port: ClusterPort, began: Int64, _ result: Result<Outcome, ServerError>, _ done: @escaping Completion
    ) {
        if case .success(.hinted) = result { return finishWithHints(done) }
        if mayBeginAnew(step, result, began: began) {
            beginAnew(step, port, began: began, after: result, done)
        } else {
            done(result)
        }
    }

    /// Tells of a write that is nowhere but in hints when those are on the disk.
    private func finishWithHints(_ done: @escaping Completion) {
        platform.background.run(.sync) { [self] in
            let failure = cluster?.syncHints()
            platform.network.onLoop(loop) { done(failure.map { .failure(LoopDriver.notHinted($0)) } ?? .success(.done)) }
        }
    }

    private static func notHinted(_ why: String) -> ServerError {
        ServerError(
            .unavailable, "no replica lives, and the write could not be kept for them: \(why)",
            detail: .unavailable(consistency: .any, required: 1, alive: 0))
    }

    private func mayBeginAnew(_ step: Step, _ result: Result<Outcome, ServerError>, began: Int64) -> Bool {
        guard case .failure(let error) = result, error.membersChanged || error.replicaLacksTable else { return false }
        return step.mayBeginAnew && now - began < coordinator.limits.writeTimeout
    }

    /// Begins a step again that others refused because they know newer members, as soon as this node knows them too; or because they did not know a
    /// table, when either side may have heard of its making or its end.
    private func beginAnew(
        _ step: Step, _ port: ClusterPort, began: Int64, after refusal: Result<Outcome, ServerError>, _ done: @escaping Completion
    ) {
        // What nobody but time can change is not asked as often.
        let patience = refusal.replicaLacksTable ? LoopDriver.patience * 5 : LoopDriver.patience
        platform.network.schedule(loop: loop, nanoseconds: patience) { [self] in
            guard let view, view.epoch > port.cluster.epoch || refusal.replicaLacksTable else {
                guard mayBeginAnew(step, refusal, began: began) else { return done(refusal) }
                return beginAnew(step, port, began: began, after: refusal, done)
            }
            port.cluster = view
            cluster?.counters.begunAnew.add(1, ordering: .relaxed)
            run({ (_) throws(ServerError) in try start(step, port) }) { [self] result in ended(step, port, began: began, result, done) }
        }
    }

    /// Between looks at whether newer members are known, in nanoseconds.
    private static let patience: UInt64 = 5_000_000

    /// Begins a step from a thread that waits for its result.
    private func wait(_ step: Step, _ port: ClusterPort) throws(ServerError) -> Outcome {
        let box = ResultBox()
        platform.background.wait { resume in
            platform.network.onLoop(loop) { [self] in
                do throws(ServerError) {
                    let id = try start(step, port)
                    let done: Completion = { result in
                        box.result = result
                        resume()
                    }
                    let time = now
                    completions[id] = { [self] result in ended(step, port, began: time, result, done) }
                    pump()
                } catch {
                    box.result = .failure(error)
                    resume()
                }
            }
        }
        return try box.result.get()
    }

    private func start(_ step: Step, _ port: ClusterPort) throws(ServerError) -> UInt64 {
        // Executed from its start, perhaps once more, by a newer schema.
        if port.isAtStart, let view, view.epoch > port.cluster.epoch { port.cluster = view }
        let cluster = port.cluster
        let now = now
        switch step {
        case .write(let mutations, let type):
            return try coordinator.write(mutations, consistency: port.consistency, type: type, cluster: cluster, now: now)
        case .count(let deltas):
            return try coordinator.count(deltas, consistency: port.consistency, cluster: cluster, now: now)
        case .read(let command, let consistency, let isByKey):
            return coordinator.read(command, consistency: consistency, cluster: cluster, isByKey: isByKey, now: now)
        case .prepare(let key, let reading, let deadline):
            return try coordinator.prepare(key, reading: reading, serial: port.serial, cluster: cluster, deadline: deadline, now: now)
        case .propose(let key, let ballot, let value, let deadline):
            return try coordinator.propose(
                key, ballot: ballot, value: value, serial: port.serial, commit: port.consistency, cluster: cluster, deadline: deadline,
                now: now)
        }
    }

    /// Begins an operation; `done` gets its result.
    func run(_ begin: (Coordinator) throws(ServerError) -> UInt64, _ done: @escaping Completion) {
        do throws(ServerError) {
            completions[try begin(coordinator)] = done
            pump()
        } catch { done(.failure(error)) }
    }

    // MARK: Requests of the node's own

    /// Asks a node, once; `done` gets its answer, or `.failed` when there is none in time.
    /// - Parameter epoch: the version of the metadata by which it was chosen; nil when it does not matter.
    func ask(
        _ request: PeerRequest, at endpoint: Endpoint, wanted: UUID?, timeout: Int64, epoch: UInt64? = nil,
        _ done: @escaping (PeerReply) -> Void
    ) {
        let id = nextAsk
        nextAsk += 1
        asks[id] = done
        if wanted == coordinator.local {
            perform(request, id: id)
        } else {
            links.send(request, to: endpoint, wanted: wanted, id: id, timeout: timeout, epoch: epoch ?? cluster?.epoch ?? 0)
        }
        guard asks[id] != nil else { return }
        platform.network.schedule(loop: loop, nanoseconds: UInt64(timeout) * 1000) { [self] in
            asks.removeValue(forKey: id)?(.failed(.connectionLost, "\(endpoint) did not answer within \(timeout / 1000) ms"))
        }
    }

    // MARK: Effects

    /// Carries out effects until there are none, then tells who waited; not while a request is being executed.
    private func pump() {
        if isPumping { return }
        carryOutEffects()
        tellFinished()
    }

    private func carryOutEffects() {
        isPumping = true
        while coordinator.hasEffects {
            var taken: [Coordinator.Effect] = []
            swap(&taken, &room)
            coordinator.takeEffects(into: &taken)
            for effect in taken { carryOut(effect) }
            taken.removeAll(keepingCapacity: true)
            swap(&taken, &room)
        }
        isPumping = false
        setTimer()
    }

    private func tellFinished() {
        while !finished.isEmpty {
            let these = finished
            finished = []
            for (completion, result) in these { completion(result) }
        }
    }

    private func carryOut(_ effect: Coordinator.Effect) {
        switch effect {
        case .send(let request, let node, let id, let timeout, let epoch):
            if node == coordinator.local {
                if let epoch, let cluster, epoch < cluster.ringEpoch {
                    return answered(id, .failed(.ringChanged, "the members have changed since the request began"))
                }
                return perform(request, id: id)
            }
            guard let endpoint = endpoints[node] ?? cluster?.endpoint(of: node) else {
                return answered(id, .failed(.connectionLost, "\(node) is no longer a member"))
            }
            links.send(request, to: endpoint, of: node, id: id, timeout: timeout, epoch: epoch ?? cluster?.epoch ?? 0)
        case .hint(let node, let mutations, let writtenAt, let operation):
            let isKept = cluster?.keepHint(for: node, mutations, writtenAt: writtenAt) ?? false
            if !isKept && (operation == beginning || completions[operation] != nil) { lackingHints.insert(operation) }
        case .latencies(let latencies): cluster?.answered(latencies)
        case .finished(let operation, var result):
            if !lackingHints.isEmpty, lackingHints.remove(operation) != nil, case .success(.hinted) = result {
                result = .failure(LoopDriver.notHinted("hints are limited, or the node has been down for longer than max_hint_window"))
            }
            if operation == beginning { immediate = result }
            if let completion = completions.removeValue(forKey: operation) { finished.append((completion, result)) }
        }
    }

    /// Carries a request of this node to itself out.
    private func perform(_ request: PeerRequest, id: UInt64) {
        carryOut(request) { [self] reply in answered(id, reply) }
    }

    private func answered(_ id: UInt64, _ reply: PeerReply) {
        if id >= 1 << 62 {
            asks.removeValue(forKey: id)?(reply)
            return
        }
        if case .failed(let reason, _) = reply, reason == .ringChanged || reason == .unknownTable { cluster?.isBehind() }
        coordinator.receive(reply, id: id, now: now)
        pump()
    }

    /// Has the replica of this node carry a request out, for this node or another; on the loop.
    ///
    /// - Parameter done: called on the loop when what the reply rests on is safe, perhaps before this returns.
    func carryOut(_ request: PeerRequest, _ done: @escaping @Sendable (PeerReply) -> Void) {
        if case .metadata(let question) = request, let cluster { return cluster.answer(question, loop: loop, done) }
        if case .keepHint(let node, let mutations) = request, let cluster { return cluster.keep(mutations, for: node, loop: loop, done) }
        if case .stream(let request) = request, case .pull = request, let cluster { return cluster.pull(request, loop: loop, done) }
        do throws(ReplicaError) {
            finish(try service.handle(request, io: .nonBlocking), request, done)
        } catch {
            // What may take minutes must not take the threads of what is short.
            let kind: BackgroundKind =
                switch request {
                case .tree, .stream: .control
                default: .replica
                }
            platform.background.run(kind) { [self] in
                let result: ReplicaService.Result
                do throws(ReplicaError) { result = try service.handle(request, io: .blocking) } catch {
                    result = ReplicaService.Result(reply: .failed(.unknown, "\(error)"))
                }
                platform.network.onLoop(loop) { [self] in finish(result, request, done) }
            }
        }
    }

    private func finish(_ result: ReplicaService.Result, _ request: PeerRequest, _ done: @escaping @Sendable (PeerReply) -> Void) {
        if let counted = result.counted, let view {
            // Others must not hold a shard that this node may forget: it would count on from what it had before, and one of the two be lost.
            return platform.network.whenSafe(loop: loop, platform.acknowledgement) { [self] failure in
                if let failure { return done(.failed(.storage, "the commit log failed: \(failure)")) }
                replicate(counted, view, done)
            }
        }
        switch request {
        // A removal that is lost with the power only has the batch applied again.
        case .read, .digest, .gossip, .metadata, .tree, .removeBatch, .stream, .keepHint: return done(result.reply)
        case .write, .hint, .repair, .count, .prepare, .propose, .commit, .storeBatch: break
        }
        if result.needsSync { platform.acknowledgement.demandSync() }
        let reply = result.reply
        platform.network.whenSafe(loop: loop, platform.acknowledgement) { failure in
            done(failure.map { .failed(.storage, "the commit log failed: \($0)") } ?? reply)
        }
    }

    /// Brings what this node has added to a counter to the other replicas.
    private func replicate(
        _ counted: (mutations: [UInt8], consistency: Consistency), _ view: ClusterView, _ done: @escaping @Sendable (PeerReply) -> Void
    ) {
        run({ (coordinator) throws(ServerError) in
            try coordinator.replicateCounter(counted.mutations, consistency: counted.consistency, cluster: view, now: now)
        }) { outcome in
            switch outcome {
            case .success: done(.done)
            case .failure(let error): done(.failed(.unknown, error.message))
            }
        }
    }

    // MARK: Time

    private func setTimer() {
        guard let next = coordinator.nextDeadline, next < timerAt else { return }
        timerAt = next
        let wait = max(0, next - now)
        platform.network.schedule(loop: loop, nanoseconds: UInt64(wait) * 1000 + 1000) { [self] in
            if timerAt != next { return }
            timerAt = .max
            coordinator.advance(now: now)
            pump()
        }
    }
}

/// What the drivers of all loops share of the platform.
struct DriverPlatform: Sendable {
    let network: any Network
    let background: any Background
    let time: any TimeSource
    let acknowledgement: LogAcknowledgement
    /// Of the transactions of all loops.
    let turns = PartitionTurns()
    /// Of requests without an answer, a connection.
    let byteLimit: Int
}

/// What a driver wants of its node.
protocol DriverCluster: AnyObject, Sendable {
    var counters: ClusterCounters { get }
    /// What this node says of itself when it connects.
    var hello: PeerHello { get }
    func compresses(_ endpoint: Endpoint) -> Bool
    /// How a connection to a node is encrypted.
    func encryption(_ endpoint: Endpoint) -> Encryption
    /// The node there does not want this one, or cannot be spoken to.
    func wasRefused(by endpoint: Endpoint, _ why: PeerError)
    /// The version of the metadata that this node knows.
    var epoch: UInt64 { get }
    /// Whoever knows only versions below this one goes by other members.
    var ringEpoch: UInt64 { get }
    func endpoint(of node: UUID) -> Endpoint?
    /// Keeps mutations for a node that missed them.
    /// - Parameter writtenAt: seconds since 1970; nil: now.
    /// - Returns: false when a limit stands against it.
    func keepHint(for node: UUID, _ mutations: [UInt8], writtenAt: UInt32?) -> Bool
    /// Waits until what is kept is on the disk.
    /// - Returns: why it is not.
    func syncHints() -> String?
    /// Keeps mutations for a node that is down, for a coordinator that counts on it; `done` is called on the loop when they are on the disk.
    func keep(_ mutations: [UInt8], for node: UUID, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void)
    /// Nodes answered reads of a loop so fast.
    func answered(_ latencies: [ReadLatency])
    /// Others know newer members.
    func isBehind()
    /// Fetches a file from another node; `done` is called on the loop.
    func pull(_ request: StreamRequest, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void)
    /// Answers a question about the metadata; `done` is called on the loop.
    func answer(_ question: MetadataRequest, loop: Int, _ done: @escaping @Sendable (PeerReply) -> Void)
}

/// SAFETY: `@unchecked` because it is written before the waiting thread is woken and read after.
private final class ResultBox: @unchecked Sendable {
    var result: Result<Outcome, ServerError> = .failure(ServerError(.serverError, "a step ended without a result"))
}

extension Result<Outcome, ServerError> {
    fileprivate var replicaLacksTable: Bool { if case .failure(let error) = self { error.replicaLacksTable } else { false } }
}
