import Cluster
import Coordinator
import DataModel
import Messages
import ModelReplica
import Platform
import Primitives
import Synchronization

/// A virtual monotonic clock in microseconds.
package final class VirtualTime: Sendable {
    private let microseconds = Atomic<Int64>(0)
    package var now: Int64 {
        get { microseconds.load(ordering: .relaxed) }
        set { microseconds.store(newValue, ordering: .relaxed) }
    }
    /// The wall-clock time, in microseconds, at monotonic time 0.
    package static let epoch: Int64 = 1_700_000_000_000_000
}

/// Probabilities of network faults.
package struct NetworkFaults {
    /// The probability that a request, or a reply, is lost.
    package var loss: Double
    /// The share of losses that are reported to the sender.
    package var reported: Double
    package var duplicates: Double
    /// The probability that a message takes fifty times as long.
    package var slow: Double
    package var delay: ClosedRange<Int64>

    package init(
        loss: Double = 0, reported: Double = 0.5, duplicates: Double = 0, slow: Double = 0,
        delay: ClosedRange<Int64> = 100...2_000
    ) {
        self.loss = loss
        self.reported = reported
        self.duplicates = duplicates
        self.slow = slow
        self.delay = delay
    }
}

/// What happens to one request.
package enum Fate {
    case deliver
    case lose
    /// The request is executed, but its reply is lost.
    case loseReply
    case fail(FailureReason)
    case delay(Int64)
}

package final class VirtualNode {
    package let index: Int
    package let id: UUID
    package let clock: HybridClock
    package var replica = ModelReplica()
    package var acceptor: MetadataAcceptor
    package fileprivate(set) var coordinator: Coordinator
    package fileprivate(set) var isUp = true
    fileprivate var generation: UInt64 = 1
    fileprivate var waiting: [UInt64: (Result<Outcome, ServerError>?) -> Void] = [:]
    fileprivate var timerAt = Int64.max
    fileprivate var snitch = DynamicSnitch(forgetAfter: 60_000_000)
    /// Every version of the metadata that this node installed.
    package var versions: [ClusterMetadata] = []

    init(index: Int, id: UUID, clock: HybridClock, limits: CoordinatorLimits, metadata: ClusterMetadata) {
        self.index = index
        self.id = id
        self.clock = clock
        acceptor = MetadataAcceptor(current: metadata)
        coordinator = Coordinator(local: id, clock: clock, limits: limits, seed: UInt64(index))
    }

    package func learn(_ value: [UInt8]) {
        if acceptor.install(value) { versions.append(acceptor.current) }
    }
}

/// Nodes with real coordinators over model replicas, driven by one event queue. The seed determines every run.
package final class VirtualCluster {
    private struct Event {
        let time: Int64
        let order: UInt64
        let action: () -> Void
    }

    /// The table of the keyspace `ks`.
    package static let table = UUID(high: 0x7461_626c, low: 1)
    /// The table of the keyspace `other`.
    package static let otherTable = UUID(high: 0x7461_626c, low: 2)

    package let time = VirtualTime()
    /// The fibers of requests.
    package private(set) lazy var fibers = makeFibers()
    /// Creates the object to keep with each fiber. Set it before the first request.
    package var makeAttachment: () -> AnyObject? = { nil }
    /// Why the operation that ended last was refused.
    package var lastRefusal: Coordinator.Refusal?
    package let seed: UInt64
    package var random: SeededRandom
    package var faults = NetworkFaults()
    package var limits: CoordinatorLimits
    package private(set) var nodes: [VirtualNode] = []
    package var ringNodes: [RingNode] { didSet { views = [:] } }
    /// The replication options of each keyspace.
    package var keyspaces: [String: [String: String]] { didSet { views = [:] } }
    package var tables: [UUID: TableRules] = [:] { didSet { views = [:] } }
    /// Views of the present members, keyspaces and tables, by node.
    private var views: [Int: ClusterView] = [:]
    /// The rules of `table`. Speculative reads start after a fixed time unless a test changes that.
    package var rules = TableRules(keyspace: "ks", speculativeRetry: .after(50_000)) {
        didSet { tables[VirtualCluster.table] = rules }
    }
    /// The replication options of the keyspace `other`; nil: there is none.
    package var otherOptions: [String: String]? {
        get { keyspaces["other"] }
        set {
            keyspaces["other"] = newValue
            tables[VirtualCluster.otherTable] = newValue.map { _ in TableRules(keyspace: "other") }
        }
    }
    /// Nodes that all others consider down.
    package var dead: Set<Int> = []
    package var hints: [(to: UUID, mutations: [UInt8], writtenAt: UInt32?)] = []
    package var sent: [PeerRequest.Verb: Int] = [:]
    /// Decides the fate of a request before `faults` apply; nil leaves it to `faults`.
    package var fate: ((_ from: Int, _ to: Int, _ request: PeerRequest) -> Fate?)?
    /// Whether a node's messages in flight are lost when it crashes.
    package var losesInFlight = false
    private var heap: [Event] = []
    private var order: UInt64 = 0

    /// - Parameters:
    ///   - options: the replication options of the keyspace `ks`.
    ///   - skew: the most microseconds by which a node's wall clock is fast.
    ///   - wallClock: microseconds since 1970; nil: the cluster's virtual time.
    package init(
        _ count: Int, seed: UInt64, options: [String: String] = ["class": "SimpleStrategy", "replication_factor": "3"],
        locations: [Location] = [], tokensPerNode: Int = 1, skew: Int64 = 0,
        limits: CoordinatorLimits = CoordinatorLimits(), wallClock: (@Sendable () -> Int64)? = nil
    ) {
        self.seed = seed
        keyspaces = ["ks": options]
        tables[VirtualCluster.table] = rules
        self.limits = limits
        random = SeededRandom(seed: seed)
        let step = UInt64.max / UInt64(count * tokensPerNode)
        ringNodes = (0..<count).map { index in
            RingNode(
                id: VirtualCluster.id(index), endpoint: Endpoint(address: "10.0.0.\(index + 1)", port: 7000),
                location: locations.isEmpty ? .unknown : locations[index],
                tokens: (0..<tokensPerNode).map {
                    Int64.min &+ Int64(bitPattern: step &* UInt64($0 * count + index + 1))
                })
        }
        let metadata = ClusterMetadata(
            epoch: 1, members: ringNodes.map { ClusterMetadata.Member(node: $0, nativePort: 9042) })
        for index in 0..<count {
            let offset = skew == 0 ? 0 : Int64(random.next() % UInt64(skew))
            let wallClock = wallClock ?? { [time] in VirtualTime.epoch + time.now }
            nodes.append(
                VirtualNode(
                    index: index, id: VirtualCluster.id(index), clock: HybridClock { wallClock() + offset },
                    limits: limits, metadata: metadata))
        }
    }

    package static func id(_ index: Int) -> UUID { UUID(high: 0xc0de, low: UInt64(index + 1)) }

    package var now: Int64 { time.now }

    package func chance(_ probability: Double) -> Bool {
        probability > 0 && Double(random.next() >> 11) / Double(1 << 53) < probability
    }

    package func pick(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(random.next() % UInt64(range.count))
    }

    // MARK: Events

    private static func precedes(_ a: Event, _ b: Event) -> Bool { (a.time, a.order) < (b.time, b.order) }

    package func at(_ when: Int64, _ action: @escaping () -> Void) {
        heap.append(Event(time: max(when, now), order: order, action: action))
        order += 1
        var child = heap.count - 1
        while child > 0, VirtualCluster.precedes(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func step() -> Bool {
        guard let first = heap.first else { return false }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var child = 2 * parent + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, VirtualCluster.precedes(heap[child + 1], heap[child]) { child += 1 }
                guard VirtualCluster.precedes(heap[child], heap[parent]) else { break }
                heap.swapAt(child, parent)
                parent = child
            }
        }
        time.now = first.time
        first.action()
        return true
    }

    /// Runs events while `goesOn` returns true, or until none are left.
    package func run(while goesOn: () -> Bool = { true }) { while goesOn(), step() {} }

    package func run(for microseconds: Int64) {
        var isOver = false
        at(now + microseconds) { isOver = true }
        run { !isOver }
    }

    // MARK: Nodes

    /// The cluster as a node sees it. A node never considers itself down.
    package func view(_ index: Int) -> ClusterView {
        let view = views[index] ?? newView(index)
        views[index] = view
        let isAlive = view.ring.nodes.map { node in
            node.id == VirtualCluster.id(index) || !dead.contains { VirtualCluster.id($0) == node.id }
        }
        let scores = nodes[index].snitch.scores(of: view.ring, now: now)
        return view.with(isAlive: isAlive, scores: scores, badnessThreshold: 1)
    }

    private func newView(_ index: Int) -> ClusterView {
        let ring = Ring(nodes: ringNodes)
        return ClusterView(
            ring: ring, local: VirtualCluster.id(index), isAlive: ring.nodes.map { _ in true },
            distance: ring.nodes.indices.map { abs($0 - index) }, keyspaces: keyspaces, tables: tables)
    }

    package func stop(_ index: Int) {
        let node = nodes[index]
        guard node.isUp else { return }
        node.isUp = false
        node.generation += 1
        let waiting = node.waiting.sorted { $0.key < $1.key }
        node.waiting = [:]
        node.timerAt = .max
        node.coordinator = Coordinator(
            local: node.id, clock: node.clock, limits: limits,
            seed: (seed + 1) << 32 | UInt64(index) << 16 | node.generation,
            generation: UInt32(truncatingIfNeeded: node.generation) << 16)
        for (_, then) in waiting { then(nil) }
    }

    package func isUp(_ index: Int) -> Bool { nodes[index].isUp }

    package func start(_ index: Int) { nodes[index].isUp = true }

    /// Begins an operation on a node.
    /// - Parameter then: receives the result, or nil when the node crashes first.
    package func begin(
        on index: Int, _ operation: (Coordinator, ClusterView, Int64) throws(ServerError) -> UInt64,
        then: @escaping (Result<Outcome, ServerError>?) -> Void
    ) throws(ServerError) {
        let node = nodes[index]
        let id = try operation(node.coordinator, view(index), now)
        node.waiting[id] = then
        drain(node)
    }

    /// Begins an operation and runs the cluster until it completes.
    package func wait(
        on index: Int, _ operation: (Coordinator, ClusterView, Int64) throws(ServerError) -> UInt64
    ) -> Result<Outcome, ServerError>? {
        var result: Result<Outcome, ServerError>?
        var isDone = false
        do throws(ServerError) {
            try begin(on: index, operation) {
                result = $0
                isDone = true
            }
        } catch { return .failure(error) }
        run { !isDone }
        return result
    }

    package func write(on index: Int, _ mutations: [UInt8], _ consistency: Consistency, type: WriteType = .simple)
        -> Result<
            Outcome, ServerError
        >?
    {
        wait(on: index) { (coordinator, view, now) throws(ServerError) in
            try coordinator.write(mutations, consistency: consistency, type: type, cluster: view, now: now)
        }
    }

    package func drain(_ node: VirtualNode) {
        while node.coordinator.hasEffects {
            for effect in node.coordinator.takeEffects() {
                switch effect {
                case .send(let request, let to, let id, _, _): send(request, from: node, to: to, id: id)
                case .hint(let to, let mutations, let writtenAt, _): hints.append((to, mutations, writtenAt))
                case .latencies(let latencies):
                    for one in latencies { node.snitch.record(one.node, latency: one.mean, count: one.count, now: now) }
                case .finished(let operation, let result, let refusal, _):
                    lastRefusal = refusal
                    // Within the caller's `begin` nobody has registered yet.
                    at(now) { node.waiting.removeValue(forKey: operation)?(result) }
                }
            }
        }
        guard let deadline = node.coordinator.nextDeadline, deadline < node.timerAt else { return }
        node.timerAt = deadline
        let generation = node.generation
        at(deadline) { [self] in
            guard node.generation == generation, node.timerAt <= now else { return }
            node.timerAt = .max
            node.coordinator.advance(now: now)
            drain(node)
        }
    }

    /// Whether a node's coordinator has no operations in progress.
    package func idle(_ index: Int) -> Bool { nodes[index].coordinator.activeCount == 0 }

    private func delay() -> Int64 { pick(faults.delay) * (chance(faults.slow) ? 50 : 1) }

    private func send(_ request: PeerRequest, from: VirtualNode, to: UUID, id: UInt64) {
        sent[request.verb, default: 0] += 1
        guard let target = nodes.first(where: { $0.id == to }) else { preconditionFailure("\(to) is no node") }
        var out = ByteWriter()
        request.encode(into: &out)
        let bytes = out.toArray()
        let generation = from.generation
        func bring(_ reply: PeerReply, after delay: Int64) {
            var out = ByteWriter()
            reply.encode(into: &out)
            let bytes = out.toArray()
            at(now + delay) { [self] in
                guard from.generation == generation, from.isUp else { return }
                from.coordinator.receive(VirtualCluster.decode(bytes, PeerReply.init(from:)), id: id, now: now)
                drain(from)
            }
        }
        if let fate = fate?(from.index, target.index, request) {
            switch fate {
            case .deliver: deliver(bytes, from: from, to: target, after: 200) { bring($0, after: 200) }
            case .lose: break
            case .loseReply: deliver(bytes, from: from, to: target, after: 200) { _ in }
            case .fail(let reason): bring(.failed(reason, "fails"), after: 300)
            case .delay(let delay): deliver(bytes, from: from, to: target, after: delay) { bring($0, after: 200) }
            }
            return
        }
        if target === from { return deliver(bytes, from: from, to: target, after: 1) { bring($0, after: 1) } }
        func lost() { if chance(faults.reported) { bring(.failed(.connectionLost, "lost"), after: delay()) } }
        if chance(faults.loss) { return lost() }
        // Every copy of a request is executed, but only the first to arrive is answered: a refusal must not stand for a
        // proposal of which another copy was accepted.
        var isAnswered = false
        for _ in 0..<(chance(faults.duplicates) ? 2 : 1) {
            deliver(bytes, from: from, to: target, after: delay()) { [self] reply in
                if isAnswered { return }
                isAnswered = true
                if chance(faults.loss) { return lost() }
                bring(reply, after: delay())
            }
        }
    }

    private static func decode<T>(_ bytes: [UInt8], _ read: (inout ByteReader) throws(ByteError) -> T) -> T {
        do throws(ByteError) { return try bytes.withReader { (reader) throws(ByteError) in try read(&reader) } } catch {
            preconditionFailure("a message does not parse: \(error)")
        }
    }

    private func deliver(
        _ bytes: [UInt8], from: VirtualNode, to node: VirtualNode, after delay: Int64,
        _ reply: @escaping (PeerReply) -> Void
    ) {
        let generation = from.generation
        at(now + delay) { [self] in
            guard node.isUp, !losesInFlight || from.generation == generation else { return }
            switch VirtualCluster.decode(bytes, PeerRequest.init(from:)) {
            case .metadata(let request):
                let (answer, hasChanged) = node.acceptor.handle(request)
                if hasChanged, node.versions.last?.epoch ?? 1 < node.acceptor.current.epoch {
                    node.versions.append(node.acceptor.current)
                }
                reply(.metadata(answer))
            case .count(let deltas, let consistency):
                let written = node.replica.count(deltas, node: node.id)
                do throws(ServerError) {
                    try begin(on: node.index) { (coordinator, view, now) throws(ServerError) in
                        try coordinator.replicateCounter(written, consistency: consistency, cluster: view, now: now)
                    } then: { result in
                        switch result {
                        case .success?: reply(.done)
                        case .failure(let error)?: reply(.failed(.unknown, error.message))
                        case nil: break
                        }
                    }
                } catch { reply(.failed(.unknown, error.message)) }
            case let request: reply(node.replica.handle(request))
            }
        }
    }
}
