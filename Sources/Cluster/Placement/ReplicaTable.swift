import Primitives

/// The replicas of every range of one ring under one strategy, computed once.
///
/// While nodes join, leave, move or are replaced, a range has natural replicas, which own it now, and pending ones, which will own
/// it and do not yet. A read asks natural replicas only. A write goes to both, and its consistency level is met when as many have
/// answered as the natural replicas alone would need, plus the number of the pending ones (`writeAnswers`): then it has the level it
/// was promised among the owners of before and among those of after, whenever the change is done.
///
/// **Thread safety**: immutable.
public struct ReplicaTable: Sendable {
    public let ring: Ring
    public let strategy: ReplicationStrategy
    /// Last tokens of the ranges, ascending.
    let boundaries: [Int64]
    /// Of range i: natural replicas begin in `members` at `starts[2i]`, pending ones at `starts[2i + 1]`, and end at `starts[2i + 2]`.
    private let starts: [Int32]
    private let members: [Int32]

    /// - Parameters:
    ///   - local: this node, which is what `ReplicationStrategy.local` means.
    ///   - former: the ring before the last change was finished, while not all nodes know that it was: its owners count as pending.
    public init(ring: Ring, strategy: ReplicationStrategy, local: UUID? = nil, former: Ring? = nil) {
        self.ring = ring
        self.strategy = strategy
        var natural = ReplicaPlacement(ring: ring, strategy: strategy, local: local)
        var stages = ReplicaTable.stages(of: ring).map { ReplicaPlacement(ring: $0, strategy: strategy, local: local) }
        var all = natural.boundaries
        for stage in stages { all += stage.boundaries }
        var before = former.map { ReplicaPlacement(ring: $0, strategy: strategy, local: local) }
        if let before { all += before.boundaries }
        // Both rings are of the same members, in the order of their ids.
        precondition(former.map { $0.nodes.count == ring.nodes.count } ?? true, "the owners of before are members")
        all.sort()
        var boundaries: [Int64] = []
        for token in all where boundaries.last != token { boundaries.append(token) }
        var starts: [Int32] = [0]
        var members: [Int32] = []
        var planned: [Int32] = []
        for token in boundaries {
            let first = members.count
            natural.appendReplicas(of: token, to: &members)
            starts.append(Int32(members.count))
            for index in stages.indices {
                planned.removeAll(keepingCapacity: true)
                stages[index].appendReplicas(of: token, to: &planned)
                for node in planned where !members[first...].contains(node) { members.append(node) }
            }
            if before != nil {
                planned.removeAll(keepingCapacity: true)
                before?.appendReplicas(of: token, to: &planned)
                for node in planned where !members[first...].contains(node) { members.append(node) }
            }
            starts.append(Int32(members.count))
        }
        self.boundaries = boundaries
        self.starts = starts
        self.members = members
    }

    /// Changes under way at once of which every order is considered.
    public static let exactChanges = 6

    /// The rings that may follow. Changes end in any order, so up to `exactChanges` of them every set that may be done first is tried;
    /// of more, each alone, each with all departures, and all together, which misses only what a rare order would bring about.
    private static func stages(of ring: Ring) -> [Ring] {
        let changing = ring.changing
        if changing.count <= exactChanges {
            return (0..<(1 << changing.count)).dropFirst().map { done in
                ring.after { node in changing.firstIndex(of: node.id).map { done >> $0 & 1 == 1 } ?? false }
            }
        }
        func departs(_ node: RingNode) -> Bool { if case .leaving = node.state { true } else { false } }
        var stages = [ring.future, ring.after(finishing: departs)]
        for id in changing {
            stages.append(ring.after { $0.id == id })
            stages.append(ring.after { $0.id == id || departs($0) })
        }
        return stages
    }

    /// The range a token lies in; nil when nobody owns anything.
    @inline(__always) func rangeIndex(of token: Int64) -> Int? {
        if boundaries.isEmpty { return nil }
        let found = boundaries.firstIndex(notBefore: token)
        return found == boundaries.count ? 0 : found
    }

    /// Indexes in `ring.nodes` of the nodes that own the token, the primary first. Allocates nothing.
    public func replicas(for token: Int64) -> ArraySlice<Int32> {
        guard let range = rangeIndex(of: token) else { return [] }
        return members[Int(starts[2 * range])..<Int(starts[2 * range + 1])]
    }

    /// Indexes in `ring.nodes` of the nodes that will own the token and do not now. Allocates nothing.
    public func pendingReplicas(for token: Int64) -> ArraySlice<Int32> {
        guard let range = rangeIndex(of: token) else { return [] }
        return members[Int(starts[2 * range + 1])..<Int(starts[2 * range + 2])]
    }

    /// Natural and pending replicas in one slice: whom a write goes to.
    public func writeReplicas(for token: Int64) -> ArraySlice<Int32> {
        guard let range = rangeIndex(of: token) else { return [] }
        return members[Int(starts[2 * range])..<Int(starts[2 * range + 2])]
    }

    /// Answers a write needs: what its consistency level needs of the natural replicas, plus one for each pending replica.
    @inlinable public static func writeAnswers(level: Int, pending: Int) -> Int { level + pending }

    /// Host ids of the nodes that own the token.
    public func replicaIDs(for token: Int64) -> [UUID] { replicas(for: token).map { ring.nodes[Int($0)].id } }

    /// How many ranges there are.
    public var rangeCount: Int { boundaries.count }

    /// Range `index`, ascending by last token.
    public func range(at index: Int) -> TokenRange {
        TokenRange(after: boundaries[index == 0 ? boundaries.count - 1 : index - 1], through: boundaries[index])
    }

    /// The ranges a node holds, as natural replica.
    public func ranges(of id: UUID) -> [TokenRange] {
        guard let node = ring.index(of: id) else { return [] }
        return boundaries.indices.map { range(at: $0) }.filter { replicas(for: $0.through).contains(Int32(node)) }
    }

    /// The fraction of all rows that each node holds, by its index in the ring.
    public var shares: [Double] {
        var result = [Double](repeating: 0, count: ring.nodes.count)
        for index in boundaries.indices {
            let fraction = range(at: index).fraction
            for node in replicas(for: boundaries[index]) { result[Int(node)] += fraction }
        }
        return result
    }
}
