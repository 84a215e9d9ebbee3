import Messages
import Synchronization

/// The turns of this node's lightweight transactions, a queue for each partition.
///
/// Two rounds of Paxos on one partition refuse each other's ballots, and leave proposals of which nobody knows what became of them. Those that begin
/// on the same node need not: they go one after another. A turn is advice, not a lock: who has waited for long goes on without, and what holds
/// between nodes does not rest on it.
///
/// **Thread safety**: all methods, from any thread; `granted` is called on the thread of whoever leaves.
public final class PartitionTurns: Sendable {
    private let queues = Mutex<[PaxosKey: [PartitionTurn]]>([:])

    public init() {}

    /// Partitions on which a transaction is under way.
    public var count: Int { queues.withLock { $0.count } }

    /// Takes a place in the queue of a partition.
    /// - Parameter granted: called once, when those before have left; not when there are none.
    /// - Returns: the place, to be left when the transaction is over, and whether it is the first.
    public func take(_ key: PaxosKey, _ granted: @escaping @Sendable () -> Void) -> (turn: PartitionTurn, isFirst: Bool) {
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

    /// Lets the next one go on. More than once does nothing more.
    public func leave() { turns.leave(self) }
}
