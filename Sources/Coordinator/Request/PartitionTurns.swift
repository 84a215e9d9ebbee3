import Messages
import Synchronization

/// Queues for this node's lightweight transactions, one per partition.
///
/// Two Paxos rounds on one partition refuse each other's ballots and can leave proposals with unknown outcome.
/// Transactions that start on the same node avoid this by running one after another. A turn is advice, not a lock: a
/// transaction that has waited too long continues without it, and correctness between nodes does not depend on turns.
///
/// **Thread safety**: all methods, from any thread; `granted` is called on the thread that calls `leave`.
public final class PartitionTurns: Sendable {
    private let queues = Mutex<[PaxosKey: [PartitionTurn]]>([:])

    public init() {}

    /// The number of partitions with a transaction in progress.
    public var count: Int { queues.withLock { $0.count } }

    /// Joins the queue of a partition.
    /// - Parameter granted: called once, when the transactions ahead have left; not called when the queue was empty.
    /// - Returns: the turn, on which `leave` must be called after the transaction, and whether it is first.
    public func take(_ key: PaxosKey, _ granted: @escaping @Sendable () -> Void) -> (turn: PartitionTurn, isFirst: Bool)
    {
        let turn = PartitionTurn(key: key, turns: self, granted: granted)
        let isFirst = queues.withLock { queues in
            queues[key, default: []].append(turn)
            return queues[key]?.count == 1
        }
        return (turn, isFirst)
    }

    fileprivate func leave(_ turn: PartitionTurn) {
        let next: PartitionTurn? = queues.withLock { queues in
            guard var queue = queues[turn.key], let place = queue.firstIndex(where: { $0 === turn }) else { return nil }
            queue.remove(at: place)
            queues[turn.key] = queue.isEmpty ? nil : queue
            return place == 0 ? queue.first : nil
        }
        next?.granted()
    }
}

/// A place in the queue of a partition.
public final class PartitionTurn: Sendable {
    fileprivate let key: PaxosKey
    private let turns: PartitionTurns
    fileprivate let granted: @Sendable () -> Void

    fileprivate init(key: PaxosKey, turns: PartitionTurns, granted: @escaping @Sendable () -> Void) {
        self.key = key
        self.turns = turns
        self.granted = granted
    }

    /// Leaves the queue, so that the next transaction runs. Further calls have no effect.
    public func leave() { turns.leave(self) }
}
