import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Replica

/// Drives the coordinator of one loop: sends its requests to other nodes, executes those for this node, and advances
/// its time.
///
/// 1. A client's request starts a step (`start`), which begins an operation of the coordinator, and waits for it on the
///    request's fiber (`finish`).
/// 2. The coordinator's effects are performed after every event. Requests to this node run on fibers of their own.
/// 3. When an operation has its result, the fiber that waits for it is resumed, or its callback is called.
///
/// **Thread safety**: its loop only.
/// SAFETY: `@unchecked Sendable` for that reason.
final class LoopDriver: StepRunner, SafetyWaiter, @unchecked Sendable {
    typealias Completion = @Sendable (Result<Outcome, ServerError>) -> Void

    /// The owner of an operation that the node itself began.
    private final class Call {
        let completion: Completion
        init(_ completion: @escaping Completion) { self.completion = completion }
    }

    let loop: Int
    let coordinator: Coordinator
    private let platform: DriverPlatform
    private let service: ReplicaService
    /// Set by `ClusterService` before anything begins.
    weak var parts: DriverParts?
    let links: PeerLinks
    /// Requests of other nodes.
    let executedForOthers: LoopCounter.Cell
    /// The cluster as new requests see it; nil before the node belongs to one.
    var view: ClusterView? {
        didSet {
            guard let view, view.epoch != oldValue?.epoch else { return }
            endpoints = Dictionary(
                view.ring.nodes.map { ($0.id, $0.endpoint) }, uniquingKeysWith: { first, _ in first })
        }
    }
    /// Addresses of the members of the view.
    private var endpoints: [UUID: Endpoint] = [:]
    /// Callbacks of requests sent by `ask`, by request id; the ids begin where those of the coordinator never get.
    private var asks: [UInt64: (PeerReply) -> Void] = [:]
    private var nextAsk: UInt64 = 1 << 62
    /// Tasks whose read is done, to be used again.
    private var spareReads: [LocalRead] = []
    private var isPumping = false
    /// An empty array whose capacity is reused for the next effects.
    private var spareEffects: [Coordinator.Effect] = []
    /// Operations one of whose hints was not kept.
    private var lackingHints: Set<UInt64> = []
    /// Results to deliver when all effects have been performed: whoever gets one may begin new operations.
    private var finished: [(owner: AnyObject, result: Result<Outcome, ServerError>)] = []
    /// An empty array whose capacity is reused for the next results.
    private var spareFinished: [(owner: AnyObject, result: Result<Outcome, ServerError>)] = []
    private var timerAt = Int64.max
    /// The step that `begin` begins now.
    private var beginning: StartedStep?
    /// Fibers for the requests of other nodes, and of this one, to this node's replica.
    let fibers: FiberPool

    init(loop: Int, coordinator: Coordinator, platform: DriverPlatform, service: ReplicaService) {
        self.loop = loop
        self.coordinator = coordinator
        self.platform = platform
        self.service = service
        executedForOthers = platform.policy.counters.requestsExecuted.cell(loop: loop)
        links = PeerLinks(
            loop: loop, network: platform.network, time: platform.time, policy: platform.policy,
            byteLimit: platform.byteLimit)
        fibers = FiberPool(loop: loop, network: platform.network, background: platform.background, time: platform.time)
        fibers.keepTrimmed()
        links.answer = { [unowned self] id, reply in answered(id, reply) }
    }

    /// Monotonic microseconds.
    var now: Int64 { Int64(platform.time.monotonicNanoseconds() / 1000) }

    // MARK: Requests of clients

    func start(_ started: StartedStep, for request: CoordinatedRequest) { begin(started, for: request) }

    /// Begins the operation of a step, for the first time or again.
    private func begin(_ started: StartedStep, for request: CoordinatedRequest) {
        started.result = nil
        started.refusal = nil
        do throws(ServerError) {
            _ = try coordinator.begin(for: started) { (_) throws(ServerError) in
                try operation(for: started.step, of: request)
            }
            beginning = started
            performEffects()
            beginning = nil
            // This runs inside a request: resuming other fibers here would run them inside it too.
            if !finished.isEmpty { platform.network.onLoop(loop) { [self] in deliverResults() } }
        } catch {
            // The only reason is a table that the view does not have.
            started.refusal = .viewLacksTable
            started.result = .failure(error)
        }
    }

    private func operation(for step: Step, of request: CoordinatedRequest) throws(ServerError) -> UInt64 {
        let (cluster, now) = (request.cluster, now)
        switch step {
        case .write(let mutations, let type):
            return try coordinator.write(
                mutations, consistency: request.consistency, type: type, cluster: cluster, now: now)
        case .count(let deltas):
            return try coordinator.count(deltas, consistency: request.consistency, cluster: cluster, now: now)
        case .read(let command, let consistency, let isByKey):
            return coordinator.read(command, consistency: consistency, cluster: cluster, isByKey: isByKey, now: now)
        case .prepare(let key, let reading, let deadline):
            return try coordinator.prepare(
                key, reading: reading, serial: request.serial, cluster: cluster, deadline: deadline, now: now)
        case .propose(let key, let ballot, let value, let deadline):
            return try coordinator.propose(
                key, ballot: ballot, value: value, serial: request.serial, commit: request.consistency,
                cluster: cluster,
                deadline: deadline, now: now)
        }
    }

    func finish(_ started: StartedStep, for request: CoordinatedRequest) throws(ServerError) -> Outcome {
        while true {
            if started.result == nil {
                guard let fiber = Fiber.current else {
                    preconditionFailure("a request waits for other nodes outside its fiber")
                }
                started.resume = fiber.resumer
                fiber.suspend()
            }
            guard let result = started.takeResult() else {
                preconditionFailure("a step was resumed without a result")
            }
            switch result {
            case .success(.hinted):
                try syncHints()
                return .done
            case .success(let outcome): return outcome
            case .failure(let error):
                guard let refusal = started.refusal, mayBeginAgain(started, refusal) else { throw error }
                try waitForNews(started, refusal, for: request, otherwise: error)
                platform.policy.counters.stepsRestarted.add(1, ordering: .relaxed)
                begin(started, for: request)
            }
        }
    }

    func takeTurn(_ key: PaxosKey) -> PartitionTurn {
        guard let fiber = Fiber.current else { preconditionFailure("a transaction runs outside a fiber") }
        var taken: PartitionTurn?
        let limit = UInt64(coordinator.limits.casContentionTimeout) * 500
        // The fiber is resumed by its turn or by the timer, whichever comes first.
        fiber.wait { resume in
            let (turn, isFirst) = platform.turns.take(key, resume)
            taken = turn
            if isFirst { resume() } else { platform.network.schedule(loop: loop, nanoseconds: limit, resume) }
        }
        guard let taken else { preconditionFailure("a place in the queue was not given") }
        return taken
    }

    func rest(attempt: Int) {
        let most = UInt64(1_000_000) << UInt64(min(attempt, 6))
        platform.background.sleep(nanoseconds: 1 + coordinator.randomNumber(below: most))
    }

    // MARK: Hints, and steps that replicas refused

    /// Returns when the hints, which are the only copy of a write, are on the disk.
    private func syncHints() throws(ServerError) {
        var failure: String?
        Fiber.blocking(.sync) { failure = parts?.hints.write() }
        if let failure { throw LoopDriver.notHinted(failure) }
    }

    private static func notHinted(_ why: String) -> ServerError {
        ServerError(
            .unavailable, "no replica is alive, and the write could not be kept for them: \(why)",
            detail: .unavailable(consistency: .any, required: 1, alive: 0))
    }

    private func mayBeginAgain(_ started: StartedStep, _ refusal: Coordinator.Refusal) -> Bool {
        guard started.step.mayBeginAgain || refusal == .viewLacksTable,
            now - started.began < coordinator.limits.writeTimeout
        else {
            return false
        }
        // When this node does not have the table either, waiting does not help.
        return refusal == .newerMembers || started.step.tables.allSatisfy { service.replica.hasTable($0) }
    }

    /// Waits until this node knows newer members; after a refusal because of an unknown table, waits once, so that the
    /// other node can learn of the table.
    private func waitForNews(
        _ started: StartedStep, _ refusal: Coordinator.Refusal, for request: CoordinatedRequest,
        otherwise error: ServerError
    ) throws(ServerError) {
        repeat {
            // A node learns of a new table by a round of gossip, which takes longer.
            platform.background.sleep(nanoseconds: refusal == .unknownTable ? LoopDriver.pause * 5 : LoopDriver.pause)
            guard mayBeginAgain(started, refusal) else { throw error }
        } while refusal == .newerMembers && (view?.epoch ?? 0) <= request.cluster.epoch
        if let view { request.cluster = view }
    }

    /// Nanoseconds between two checks for newer members.
    private static let pause: UInt64 = 5_000_000

    // MARK: Operations for the node itself

    /// Begins an operation; `done` is called with its result.
    func run(_ begin: (Coordinator) throws(ServerError) -> UInt64, _ done: @escaping Completion) {
        do throws(ServerError) {
            _ = try coordinator.begin(for: Call(done), begin)
            pump()
        } catch { done(.failure(error)) }
    }

    // MARK: Requests for the node itself

    /// Sends a request to a node; `done` is called once, with its answer, or with `.failed` when there is none in time.
    /// - Parameters:
    ///   - wanted: the host id of the node that must be there; nil: whichever is.
    ///   - timeout: microseconds.
    ///   - epoch: the version of the metadata by which the node was chosen; nil: the newest known.
    func ask(
        _ request: PeerRequest, at endpoint: Endpoint, wanted: UUID?, timeout: Int64, epoch: UInt64? = nil,
        _ done: @escaping (PeerReply) -> Void
    ) {
        let id = nextAsk
        nextAsk += 1
        asks[id] = done
        if wanted == coordinator.local {
            executeHere(request, id: id)
        } else {
            links.send(
                request, to: endpoint, wanted: wanted, id: id, timeout: timeout, epoch: epoch ?? platform.metadata.epoch
            )
        }
        guard asks[id] != nil else { return }
        platform.network.schedule(loop: loop, nanoseconds: UInt64(timeout) * 1000) { [self] in
            asks.removeValue(forKey: id)?(
                .failed(.connectionLost, "\(endpoint) did not answer within \(timeout / 1000) ms"))
        }
    }

    // MARK: Effects

    /// Performs effects until there are none, then delivers results; does nothing inside itself.
    private func pump() {
        if isPumping { return }
        performEffects()
        deliverResults()
    }

    private func performEffects() {
        isPumping = true
        while coordinator.hasEffects {
            var taken: [Coordinator.Effect] = []
            swap(&taken, &spareEffects)
            coordinator.takeEffects(into: &taken)
            for effect in taken { perform(effect) }
            taken.removeAll(keepingCapacity: true)
            swap(&taken, &spareEffects)
        }
        isPumping = false
        setTimer()
    }

    private func deliverResults() {
        while !finished.isEmpty {
            var these: [(owner: AnyObject, result: Result<Outcome, ServerError>)] = []
            swap(&these, &spareFinished)
            swap(&these, &finished)
            defer {
                these.removeAll(keepingCapacity: true)
                swap(&these, &spareFinished)
            }
            for (owner, result) in these {
                if let started = owner as? StartedStep {
                    started.finish(result)
                } else if let call = owner as? Call {
                    call.completion(result)
                }
            }
        }
    }

    private func perform(_ effect: Coordinator.Effect) {
        switch effect {
        case .send(let request, let node, let id, let timeout, let epoch):
            if node == coordinator.local {
                if let epoch, epoch < platform.metadata.ringEpoch {
                    return answered(id, .failed(.ringChanged, "the members have changed since the request began"))
                }
                if request.isRead { return readHere(request, id: id) }
                if writeAtOnce(request, for: self, token: id) { return }
                return executeHere(request, id: id)
            }
            guard let endpoint = endpoints[node] ?? platform.metadata.endpoint(of: node) else {
                return answered(id, .failed(.connectionLost, "\(node) is no longer a member"))
            }
            links.send(
                request, to: endpoint, of: node, id: id, timeout: timeout, epoch: epoch ?? platform.metadata.epoch)
        case .hint(let node, let mutations, let writtenAt, let operation):
            let isKept = parts?.hints.keep(for: node, mutations, writtenAt: writtenAt) ?? false
            if !isKept, let operation { lackingHints.insert(operation) }
        case .latencies(let latencies): parts?.views.record(latencies)
        case .finished(let operation, var result, let refusal, let owner):
            if !lackingHints.isEmpty, lackingHints.remove(operation) != nil, case .success(.hinted) = result {
                result = .failure(
                    LoopDriver.notHinted("hints are limited, or the node has been down for longer than max_hint_window")
                )
            }
            guard let owner else { return }
            if let started = owner as? StartedStep {
                started.refusal = refusal
                if started === beginning {
                    started.result = result
                    return
                }
            }
            finished.append((owner, result))
        }
    }

    /// Executes a request that this node sent to itself.
    private func executeHere(_ request: PeerRequest, id: UInt64) {
        execute(request) { [self] reply in answered(id, reply) }
    }

    /// A read of this node's coordinator on this node, as the task of a fiber.
    private final class LocalRead: FiberTask {
        private unowned let driver: LoopDriver
        var request: PeerRequest?
        var id: UInt64 = 0

        init(_ driver: LoopDriver) { self.driver = driver }

        func run(on fiber: Fiber) { driver.run(self) }
    }

    private func readHere(_ request: PeerRequest, id: UInt64) {
        let task = spareReads.popLast() ?? LocalRead(self)
        task.request = request
        task.id = id
        if fibers.run(task) == .refused { answered(id, .failed(.overloaded, LoopDriver.tooManyWait)) }
    }

    private func run(_ task: LocalRead) {
        guard let request = task.request else { return }
        let reply = service.execute(request).reply
        let id = task.id
        task.request = nil
        spareReads.append(task)
        answered(id, reply)
    }

    private static let tooManyWait = "too many requests of other nodes wait"

    private func answered(_ id: UInt64, _ reply: PeerReply) {
        if id >= 1 << 62 {
            asks.removeValue(forKey: id)?(reply)
            return
        }
        if case .failed(let reason, _) = reply, reason == .ringChanged || reason == .unknownTable {
            parts?.fetcher.membersAreNewer()
        }
        coordinator.receive(reply, id: id, now: now)
        pump()
    }

    /// Executes a write that need not wait, of this node or another, on this node's replica; on the loop.
    ///
    /// - Parameter waiter: told when the write is as safe as the commit log's mode promises.
    /// - Returns: false for other requests, when the write must wait, and when it failed: `execute` then reports why.
    @inline(__always) func writeAtOnce(_ request: PeerRequest, for waiter: any SafetyWaiter, token: UInt64) -> Bool {
        guard service.writeAtOnce(request) else { return false }
        platform.network.whenSafe(loop: loop, platform.acknowledgement, waiter, token: token)
        return true
    }

    /// A write of this node's coordinator on this node is safe, or failed.
    func writesAreSafe(_ token: UInt64, failure: String?) {
        answered(token, failure.map(PeerReply.logFailed) ?? .done)
    }

    /// Executes a request of this node or another on this node's replica; on the loop.
    ///
    /// - Parameter done: called once, on the loop, when what the reply acknowledges is as safe as the commit log's mode
    ///   promises; perhaps before this returns.
    func execute(_ request: PeerRequest, _ done: @escaping @Sendable (PeerReply) -> Void) {
        switch request {
        case .metadata(let question):
            if let parts { return parts.answers.answer(question, loop: loop, done) }
        case .keepHint(let node, let mutations):
            if let parts { return parts.hints.keep(mutations, for: node, loop: loop, done) }
        case .stream(let request):
            if case .pull = request, let parts { return parts.files.pull(request, loop: loop, done) }
        default: break
        }
        switch request {
        case .tree, .stream:
            // These may take minutes.
            platform.background.run(.control) { [self] in
                let result = service.execute(request)
                platform.network.onLoop(loop) { [self] in finish(result, request, done) }
            }
        default:
            let turn = fibers.run { [self] in finish(service.execute(request), request, done) }
            if turn == .refused { done(.failed(.overloaded, LoopDriver.tooManyWait)) }
        }
    }

    private func finish(
        _ result: ReplicaService.Result, _ request: PeerRequest, _ done: @escaping @Sendable (PeerReply) -> Void
    ) {
        if let counted = result.counted, let view {
            // The other replicas get this node's shard of the counter only when it is safe here. If this node forgot it
            // and counted on from an older value, one of the two increments would be lost.
            return platform.network.whenSafe(loop: loop, platform.acknowledgement) { [self] failure in
                if let failure { return done(.logFailed(failure)) }
                replicate(counted, view, done)
            }
        }
        switch request {
        // If a power failure undoes the removal of a batch, the batch is applied again, which is harmless.
        case .read, .digest, .gossip, .metadata, .tree, .removeBatch, .stream, .keepHint: return done(result.reply)
        case .write, .hint, .repair, .count, .prepare, .propose, .commit, .storeBatch: break
        }
        if result.needsSync { platform.acknowledgement.demandSync() }
        let reply = result.reply
        platform.network.whenSafe(loop: loop, platform.acknowledgement) { failure in
            done(failure.map(PeerReply.logFailed) ?? reply)
        }
    }

    /// Writes this node's shard of a counter to the other replicas.
    private func replicate(
        _ counted: (mutations: [UInt8], consistency: Consistency), _ view: ClusterView,
        _ done: @escaping @Sendable (PeerReply) -> Void
    ) {
        run({ (coordinator) throws(ServerError) in
            try coordinator.replicateCounter(
                counted.mutations, consistency: counted.consistency, cluster: view, now: now)
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

/// What the drivers of all loops share.
struct DriverPlatform: Sendable {
    let network: any Network
    let background: any Background
    let time: any TimeSource
    let acknowledgement: LogAcknowledgement
    let metadata: MetadataStore
    let policy: PeerPolicy
    /// The queues of the transactions of all loops, one for each partition.
    let turns = PartitionTurns()
    /// The most bytes of unanswered requests on one connection.
    let byteLimit: Int
}
