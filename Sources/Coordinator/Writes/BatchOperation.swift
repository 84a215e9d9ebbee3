import DataModel
import Messages
import Primitives

/// Writes a logged batch of several partitions: eventually either all of it is applied, or nothing.
///
/// 1. If too few replicas of some partition are alive, nothing is stored or sent: Unavailable.
/// 2. Two nodes store the whole batch: others (`chooseBatchlogNodes`), and this node if fewer than two others can. A
///    node
///    that fails is replaced by the next. One is enough only if no other is alive: if the only node that stored a batch
///    were lost for ever, a partly applied batch would remain. Without the stored copies the client gets a failure or
///    timeout of type BATCH_LOG and does not know whether the batch will be applied.
/// 3. The batch is then written like other mutations. Whatever happens to this node, the consistency level or a
///    replica, the nodes that stored the batch apply it (`ReplayOperation`) unless it is removed within twice the write
///    timeout, which is as long as this operation may take.
/// 4. When all partitions have reached the level, the batch is removed. Nothing waits for the removal: a batch that
///    stays is applied again with the same timestamps. If all replicas of some partition have only hints (ANY), the
///    batch is not removed.
final class BatchOperation: WriteOperation {
    private let batch: LoggedBatch
    /// Nodes that may still be asked to store the batch, in order.
    private var candidates: [Int] = []
    private var asked: [Int] = []
    private var waiting = 0
    private var stored = 0
    /// The number of nodes that must store the batch.
    private var wanted = 0
    private var isStored = false

    static let batchlogNodes = 2

    /// - Parameter mutations: the mutations of all `parts`.
    init(
        _ coordinator: Coordinator, cluster: ClusterView, mutations: [UInt8], parts: [PartitionedMutations.Part],
        consistency: Consistency,
        deadline: Int64
    ) {
        let id = UUID.random(using: &coordinator.random)
        // Mixing in the node's id keeps batch ids distinct when two coordinators draw the same random numbers.
        let key = BatchKey(
            created: coordinator.clock.next(),
            id: UUID(high: id.high ^ coordinator.local.high, low: id.low ^ coordinator.local.low))
        batch = LoggedBatch(key: key, mutations: mutations)
        super.init(
            coordinator, cluster: cluster, parts: parts, consistency: consistency, type: .batch, deadline: deadline)
    }

    override var asReusableWrite: WriteOperation? { nil }

    override func start(now: Int64) {
        do throws(ServerError) { try makePlan() } catch { return finish(.failure(error)) }
        candidates = cluster.chooseBatchlogNodes(random: &coordinator.random) + [cluster.local]
        if PlantedBugs.isOn(.batchlogOff) { return beginWriting(now: now) }
        wanted = min(BatchOperation.batchlogNodes, candidates.count)
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
                        level, .batchLog, received: stored, required: wanted, failures: asked.count - stored - waiting))
            )
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

    private func remove() {
        for node in asked { coordinator.tell(.removeBatch(batch.key), to: cluster.ring.nodes[node].id) }
    }

    /// The consistency level that errors report for the stored copies.
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
    /// Whether another node may store logged batches, alive or not.
    var hasOtherBatchlogNodes: Bool { ring.nodes.indices.contains(where: mayStoreBatches) }

    private func mayStoreBatches(_ node: Int) -> Bool {
        // A leaving node hands over its stored batches and accepts no new ones.
        node != local && isNear[node] && ring.nodes[node].state == .normal
    }

    /// Returns other nodes that may store a logged batch, in the order in which they are asked: live, permanent nodes
    /// of this data center, at random. First one from each other rack, then the rest of those racks, then this node's
    /// rack.
    public func chooseBatchlogNodes(random: inout SeededRandom) -> [Int] {
        let here = ring.nodes[local].location.rack
        let able = ring.nodes.indices.filter { isAlive[$0] && mayStoreBatches($0) }
        var racks: Set<String> = []
        var (first, second, last): ([Int], [Int], [Int]) = ([], [], [])
        for node in able.shuffled(using: &random) {
            let rack = ring.nodes[node].location.rack
            if rack == here {
                last.append(node)
            } else if racks.insert(rack).inserted {
                first.append(node)
            } else {
                second.append(node)
            }
        }
        return first + second + last
    }
}
