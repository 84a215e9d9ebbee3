import DataModel
import Messages
import Primitives

/// Adds to the counters of one partition: one replica, the leader, updates its own shard and sends the new shard to the
/// others.
///
/// A lost request may have been applied, so it is not sent again and the client gets a timeout.
final class CounterOperation: Operation {
    private let part: PartitionedMutations.Part
    private let consistency: Consistency
    private var attempts = 1

    init(
        _ coordinator: Coordinator, cluster: ClusterView, part: PartitionedMutations.Part, consistency: Consistency,
        deadline: Int64
    ) {
        self.part = part
        self.consistency = consistency
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    /// The replica to ask, or the error if there is none.
    private var leader: Result<Int, ServerError> {
        guard let placement = cluster.placement(of: part.table) else {
            return .failure(.unknownTable(part.table))
        }
        let count = ResponseTracker(consistency, placement.replication, near: cluster.dataCenter(cluster.local))
        let alive = cluster.live(of: part.token, placement.table)
        guard let leader = alive.first, count.couldBeMet(with: alive, in: cluster) else {
            let counted = alive.filter { count.counts(isNear: cluster.isNear[$0]) }
            return .failure(CoordinatorErrors.unavailable(consistency, required: count.required, alive: counted.count))
        }
        return .success(leader)
    }

    override var refusal: ServerError? { if case .failure(let error) = leader { error } else { nil } }

    override func start(now: Int64) {
        switch leader {
        case .failure(let error):
            viewLacksTable = cluster.placement(of: part.table) == nil
            finish(.failure(error))
        case .success(let leader):
            ask(leader, .count(deltas: part.mutations, consistency: consistency), tag: 0, now: now)
        }
    }

    override func receive(_ reply: PeerReply, tag: Int, from node: Int, now: Int64) {
        if isFinished { return }
        switch reply {
        case .done: finish(.success(.done))
        case .failed(.overloaded, let text): finish(.failure(ServerError(.overloaded, text)))
        case _ where PlantedBugs.isOn(.counterTwice) && attempts == 1:
            attempts += 1
            start(now: now)
        default:
            finish(.failure(CoordinatorErrors.writeTimeout(consistency, .counter, received: 0, required: 1)))
        }
    }

    override func expire(now: Int64) {
        if isFinished { return }
        coordinator.count { $0.timeouts += 1 }
        finish(.failure(CoordinatorErrors.writeTimeout(consistency, .counter, received: 0, required: 1)))
    }
}

/// Runs several operations; the first failure becomes its own. If any of them would be refused in advance, none is
/// started.
final class CombinedOperation: Operation {
    private let inner: [Operation]
    private var left = 0

    init(_ coordinator: Coordinator, cluster: ClusterView, deadline: Int64, _ inner: [Operation]) {
        self.inner = inner
        super.init(coordinator, cluster: cluster, deadline: deadline)
    }

    override func start(now: Int64) {
        left = inner.count
        if left == 0 { return finish(.success(.done)) }
        if let error = inner.lazy.compactMap(\.refusal).first {
            // Unavailable is the other refusal there is.
            viewLacksTable = error.code == .invalid
            return finish(.failure(error))
        }
        for one in inner where !isFinished {
            coordinator.beginInner(one, of: self, now: now) { result, _ in
                if self.isFinished { return }
                self.left -= 1
                if case .failure(let error) = result { return self.finish(.failure(error)) }
                if self.left == 0 { self.finish(.success(.done)) }
            }
        }
    }
}
