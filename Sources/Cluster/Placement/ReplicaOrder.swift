/// The order in which to ask the replicas of a row: near ones first, fast ones before slow ones.
///
/// 1. Sort by distance: this node, its rack, its data center, the others. Replicas at equal distance keep their order.
/// 2. Within this data center, and within the others, keep that order unless a replica is slower, by more than the
///    badness threshold, than the one that would hold its position by score. In that case sort that part by score.
///
/// The threshold keeps caches warm: small differences do not move readers of a row between replicas. It corresponds to
/// Cassandra's `dynamic_snitch_badness_threshold`.
///
/// **Thread safety**: immutable.
public struct ReplicaOrder: Sendable {
    /// The distance of each node, by its index in the ring: greater is farther.
    public let distance: [Int]
    /// Whether a node is in this one's data center.
    public let isNear: [Bool]
    /// The mean latency of each node in microseconds; 0 when none is known, so that the node is tried. Empty: no node
    /// has a score.
    public let scores: [Double]
    /// The tolerated slowdown: with 1.0, a replica must be more than twice as slow to lose its position.
    public let badnessThreshold: Double

    public init(distance: [Int], isNear: [Bool], scores: [Double] = [], badnessThreshold: Double = 1) {
        precondition(
            distance.count == isNear.count && (scores.isEmpty || scores.count == distance.count), "one value per node")
        self.distance = distance
        self.isNear = isNear
        self.scores = scores
        self.badnessThreshold = badnessThreshold
    }

    /// The same distances with other scores.
    public func with(scores: [Double], badnessThreshold: Double) -> ReplicaOrder {
        ReplicaOrder(distance: distance, isNear: isNear, scores: scores, badnessThreshold: badnessThreshold)
    }

    /// Sorts node indexes, the best to ask first. Meant for a handful of them. Allocates nothing.
    public func sort(_ replicas: inout [Int]) {
        replicas.insertionSort { a, b in isNear[a] != isNear[b] ? isNear[a] : distance[a] < distance[b] }
        guard !scores.isEmpty else { return }
        let boundary = replicas.firstIndex { !isNear[$0] } ?? replicas.count
        sortByScore(&replicas, 0..<boundary)
        sortByScore(&replicas, boundary..<replicas.count)
    }

    private func sortByScore(_ replicas: inout [Int], _ part: Range<Int>) {
        for (place, index) in part.enumerated() {
            // More than `place` replicas are faster by the threshold: this one does not belong this far in front.
            let score = scores[replicas[index]]
            if part.count(where: { scores[replicas[$0]] * (1 + badnessThreshold) < score }) > place {
                return replicas.insertionSort(part) { scores[$0] < scores[$1] }
            }
        }
    }

    /// Returns whether other scores are so close to these that no new order is needed.
    public func isClose(to others: [Double]) -> Bool {
        guard scores.count == others.count else { return false }
        return zip(scores, others).allSatisfy { a, b in (a == 0) == (b == 0) && abs(a - b) * 32 <= max(a, b) }
    }
}

extension Ring {
    /// Returns the distance of each node from the given one: 0 itself, 1 same rack, 2 same data center, 3 other data
    /// centers.
    public func distances(from node: Int) -> [Int] {
        let here = nodes[node].location
        return nodes.indices.map { other in
            let there = nodes[other].location
            if other == node { return 0 }
            if there.dataCenter != here.dataCenter { return 3 }
            return there.rack == here.rack ? 1 : 2
        }
    }
}

extension Array {
    /// Sorts a part in place, stably. Meant for a handful of elements.
    mutating func insertionSort(_ part: Range<Int>? = nil, by precedes: (Element, Element) -> Bool) {
        let part = part ?? indices
        for index in part.dropFirst() {
            var place = index
            while place > part.lowerBound && precedes(self[place], self[place - 1]) {
                swapAt(place, place - 1)
                place -= 1
            }
        }
    }
}
