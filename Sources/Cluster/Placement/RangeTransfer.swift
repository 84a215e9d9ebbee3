import Primitives

/// A range that a node must get because it will own it, and who has it.
public struct RangeTransfer: Hashable, Sendable {
    public let range: TokenRange
    /// Host id of the node that gets it.
    public let receiver: UUID
    /// Host ids of the nodes that own it now, the primary first.
    public let sources: [UUID]

    public init(range: TokenRange, receiver: UUID, sources: [UUID]) {
        self.range = range
        self.receiver = receiver
        self.sources = sources
    }
}

extension ReplicaTable {
    /// What must be streamed before `next` may take the place of this table: ascending by range, then in the order of replicas.
    /// Both tables may be of rings with different nodes.
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
