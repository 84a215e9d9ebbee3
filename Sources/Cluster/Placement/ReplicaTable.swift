import Primitives

/// The replicas of every range of one ring under one replication strategy, computed once.
///
/// While nodes join, leave, move or are replaced, a range has natural replicas, which own it now, and pending replicas,
/// which will own it. Reads ask natural replicas only. Writes go to both and need as many answers as the natural
/// replicas alone would need, plus the number of pending ones. So the consistency level holds among the previous owners
/// and among the future owners, whenever the change finishes. Only one change is under way at a time (`MemberChange`),
/// so the future owners are those of `Ring.future`; of several changes, only the owners after the last one are pending.
///
/// **Thread safety**: immutable.
public final class ReplicaTable: Sendable {
    public let ring: Ring
    public let strategy: ReplicationStrategy
    /// The last tokens of the ranges, ascending.
    let boundaries: [Int64]
    /// In `members`, range i's natural replicas begin at `starts[2i]`, its pending ones at `starts[2i + 1]`; they end
    /// at `starts[2i + 2]`.
    private let starts: [Int32]
    private let members: [Int32]

    /// - Parameters:
    ///   - local: this node, the only replica under `ReplicationStrategy.local`.
    ///   - former: the ring before the last change, until all nodes know that the change has finished. Its owners count
    ///     as pending.
    public init(ring: Ring, strategy: ReplicationStrategy, local: UUID? = nil, former: Ring? = nil) {
        self.ring = ring
        self.strategy = strategy
        // All three rings have the same members, sorted by host id, so their indexes agree.
        precondition(former.map { $0.nodes.count == ring.nodes.count } ?? true, "the former ring has other members")
        let later = ring.changing.isEmpty ? nil : ring.future
        var natural = ReplicaPlacement(ring: ring, strategy: strategy, local: local)
        var others = [later, former].compactMap { $0 }.map {
            ReplicaPlacement(ring: $0, strategy: strategy, local: local)
        }
        var all = natural.boundaries
        for other in others { all += other.boundaries }
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
            for index in others.indices {
                planned.removeAll(keepingCapacity: true)
                others[index].appendReplicas(of: token, to: &planned)
                for node in planned where !members[first...].contains(node) { members.append(node) }
            }
            starts.append(Int32(members.count))
        }
        self.boundaries = boundaries
        self.starts = starts
        self.members = members
    }

    /// Returns the index of the range that contains a token; nil when no node owns tokens.
    @inline(__always) func rangeIndex(of token: Int64) -> Int? {
        if boundaries.isEmpty { return nil }
        let found = boundaries.firstIndex(notBefore: token)
        return found == boundaries.count ? 0 : found
    }

    /// Returns the indexes in `ring.nodes` of the token's owners, the primary first. Allocates nothing.
    public func replicas(for token: Int64) -> ArraySlice<Int32> {
        members[places(for: token).natural]
    }

    /// Returns the indexes in `ring.nodes` of the nodes that will own the token but do not now. Allocates nothing.
    public func pendingReplicas(for token: Int64) -> ArraySlice<Int32> {
        members[places(for: token).pending]
    }

    /// Returns natural and pending replicas in one slice: the targets of a write.
    public func writeReplicas(for token: Int64) -> ArraySlice<Int32> {
        members[places(for: token).writers]
    }

    /// The places in the table of a token's replicas, for `node(at:)`. Unlike the slices above it holds no reference.
    public struct Places: Sendable {
        public let natural: Range<Int>
        public var pending: Range<Int>
        public var writers: Range<Int> { natural.lowerBound..<pending.upperBound }
    }

    /// Returns the places of a token's natural and pending replicas; none when no node owns tokens.
    @inline(__always) public func places(for token: Int64) -> Places {
        guard let range = rangeIndex(of: token) else { return Places(natural: 0..<0, pending: 0..<0) }
        let middle = Int(starts[2 * range + 1])
        return Places(natural: Int(starts[2 * range])..<middle, pending: middle..<Int(starts[2 * range + 2]))
    }

    /// Returns the index in `ring.nodes` of the replica at a place.
    @inline(__always) public func node(at place: Int) -> Int { Int(members[place]) }

    /// Returns the host ids of the token's owners.
    public func replicaIDs(for token: Int64) -> [UUID] { replicas(for: token).map { ring.nodes[Int($0)].id } }

    /// The number of ranges.
    public var rangeCount: Int { boundaries.count }

    /// Returns range `index`; ranges ascend by their last token.
    public func range(at index: Int) -> TokenRange {
        TokenRange(after: boundaries[index == 0 ? boundaries.count - 1 : index - 1], through: boundaries[index])
    }

    /// The fraction of all rows each node holds, by its index in the ring.
    public var shares: [Double] {
        var result = [Double](repeating: 0, count: ring.nodes.count)
        for index in boundaries.indices {
            let fraction = range(at: index).fraction
            for node in replicas(for: boundaries[index]) { result[Int(node)] += fraction }
        }
        return result
    }
}
