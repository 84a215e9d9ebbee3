import DataModel
import Messages
import Primitives

/// Writes a logged batch of several partitions so that all of it comes to be applied, or nothing.
///
/// 1. With too few live replicas for some partition nothing is stored or sent: Unavailable.
/// 2. The whole batch is stored by two nodes: others (`chooseLogNodes`), and this one where fewer than two others can. A node that cannot is replaced by
///    the next. One is enough only where no other lives: a node that alone had stored it, and is lost for ever, would leave what has arrived of it. Without
///    them the client is told of a failure or a timeout of type BATCH_LOG, and does not know whether the batch will be applied.
/// 3. Then it is written like any other mutations. Whatever becomes of this node, of the client's level or of a replica, those who have stored it
///    apply it (`ReplayOperation`) when it has not been removed after twice the write timeout: as long as this operation may take.
/// 4. When all partitions have their level, it is removed. Nobody waits for that: a batch that stays is applied again, with the same timestamps.
///    Where hints stood for all replicas of a partition (ANY) it is not removed.
final class BatchOperation: WriteOperation {
    private let batch: LoggedBatch
    /// Nodes that may be asked to store it, in order.
    private var candidates: [Int] = []
    private var asked: [Int] = []
    private var waiting = 0
    private var stored = 0
    /// Nodes that must have stored it.
    private var wanted = 0
    private var isStored = false

    static let logNodes = 2

    /// - Parameter mutations: all of `parts`.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, mutations: [UInt8], parts: [PartitionedMutations.Part], consistency: Consistency,
        deadline: Int64
    ) {
        let id = UUID.random(using: &coordinator.random)
        // Two coordinators with the same random numbers still name their batches differently.
        let key = BatchKey(
            created: coordinator.clock.next(), id: UUID(high: id.high ^ coordinator.local.high, low: id.low ^ coordinator.local.low))
        batch = LoggedBatch(key: key, mutations: mutations)
        super.init(coordinator, cluster: cluster, parts: parts, consistency: consistency, type: .batch, deadline: deadline)
    }

    override func start(now: Int64) {
        do throws(ServerError) { try makePlan() } catch { return finish(.failure(error)) }
        candidates = cluster.chooseLogNodes(random: &coordinator.random) + [cluster.local]
        if PlantedBugs.isOn(.batchlogOff) { return beginWriting(now: now) }
        wanted = min(BatchOperation.logNodes, candidates.count)
        for _ in 0..<wanted { askToStore(candidates.removeFirst(), now: now) }
    }

    private func askToStore(_ node: Int, now: Int64) {
        asked.append(node)
        waiting += 1
        ask(node, .storeBatch(batch), tag: -asked.count, now: now)
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        guard tag < 0 else { return super.receive(reply, tag: tag, from: node, now: now) }
        if isStored || isFinished { return }
        waiting -= 1
        if case .done = reply {
            stored += 1
        } else if !candidates.isEmpty {
            askToStore(candidates.removeFirst(), now: now)
        } else if stored + waiting < wanted {
            return finish(
                .failure(
                    CoordinatorErrors.writeFailure(
                        level, .batchLog, received: stored, required: wanted, failures: asked.count - stored - waiting)))
        }
        guard stored >= wanted else { return }
        if PlantedBugs.isOn(.batchRemovedEarly) { remove() }
        beginWriting(now: now)
    }

    private func beginWriting(now: Int64) {
        isStored = true
        coordinator.postpone(self, until: now + coordinator.limits.writeTimeout)
        send(now: now)
    }

    private func remove() { for node in asked { coordinator.tell(.removeBatch(batch.key), to: cluster.ring.nodes[node].id) } }

    /// What errors call the number of nodes that must store it.
    private var level: Consistency { wanted > 1 ? .two : .one }

    override func reachedLevel() {
        if isAppliedSomewhere { remove() }
    }

    override func expire(now: Int64) {
        if isStored { return super.expire(now: now) }
        if isFinished { return }
        coordinator.count { $0.timeouts += 1 }
        finish(.failure(CoordinatorErrors.writeTimeout(level, .batchLog, received: stored, required: wanted)))
    }
}

extension ClusterView {
    /// Whether there is another node that may store logged batches, alive or not.
    var hasOtherLogNodes: Bool { ring.nodes.indices.contains(where: mayLog) }

    private func mayLog(_ node: Int) -> Bool {
        guard node != local, isNear[node] else { return false }
        // One that leaves hands over what it has stored; it takes nothing new.
        switch ring.nodes[node].state {
        case .normal, .moving: return true
        case .joining, .leaving, .left, .replacing: return false
        }
    }

    /// Other nodes that may store a logged batch, in the order in which they are asked: live ones of this data center that are there to stay,
    /// at random, one of each other rack first, then the rest of those racks, then those of this node's rack.
    public func chooseLogNodes(random: inout SeededRandom) -> [Int] {
        let here = ring.nodes[local].location.rack
        let able = ring.nodes.indices.filter { isAlive[$0] && mayLog($0) }
        var racks: Set<String> = []
        var (first, second, last): ([Int], [Int], [Int]) = ([], [], [])
        for node in able.shuffled(using: &random) {
            let rack = ring.nodes[node].location.rack
            if rack == here { last.append(node) } else if racks.insert(rack).inserted { first.append(node) } else { second.append(node) }
        }
        return first + second + last
    }
}
