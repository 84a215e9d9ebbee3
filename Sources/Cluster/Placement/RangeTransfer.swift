import Primitives

/// A range that a node must receive because it will own it, and the nodes that own it now.
public struct RangeTransfer: Hashable, Sendable {
    public let range: TokenRange
    /// Host id of the receiving node.
    public let receiver: UUID
    /// Host ids of the current owners, the primary first.
    public let sources: [UUID]

    public init(range: TokenRange, receiver: UUID, sources: [UUID]) {
        self.range = range
        self.receiver = receiver
        self.sources = sources
    }
}

extension ReplicaTable {
    /// Returns what must be streamed before `next` may replace this table: ascending by range, then in replica order.
    /// The two tables' rings may have different nodes.
    public func transfers(to next: ReplicaTable) -> [RangeTransfer] {
        var all = (boundaries + next.boundaries).sorted()
        all = all.indices.filter { $0 == 0 || all[$0] != all[$0 - 1] }.map { all[$0] }
        var result: [RangeTransfer] = []
        for (index, token) in all.enumerated() {
            let now = replicaIDs(for: token)
            let range = TokenRange(after: all[index == 0 ? all.count - 1 : index - 1], through: token)
            for receiver in next.replicaIDs(for: token) where !now.contains(receiver) {
                result.append(RangeTransfer(range: range, receiver: receiver, sources: now))
            }
        }
        return result
    }
}
