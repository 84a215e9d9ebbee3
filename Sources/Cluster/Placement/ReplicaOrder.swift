/// In which order the replicas of a row are asked: near ones first, and slow ones after fast ones.
///
/// 1. The order of distance: this node, its rack, its data center, the others; equals as they come.
/// 2. Within this data center, and within the others, the order of distance stays as long as no replica is slower by more than the
///    badness threshold than the one that would stand in its place by score; otherwise the order is that of the scores.
///
/// The threshold keeps caches warm: small differences do not send a row's readers back and forth. It is Cassandra's
/// `dynamic_snitch_badness_threshold`.
///
/// **Thread safety**: immutable.
public struct ReplicaOrder: Sendable {
    /// Of each node, by its index in the ring: greater is farther.
    public let distance: [Int]
    /// Whether a node is in this one's data center.
    public let isNear: [Bool]
    /// Of each node, its mean latency in microseconds; 0 when none is known, so that it is tried. Empty: of none.
    public let scores: [Double]
    /// 1.0: twice as slow is bad enough.
    public let badnessThreshold: Double

    public init(distance: [Int], isNear: [Bool], scores: [Double] = [], badnessThreshold: Double = 1) {
        precondition(distance.count == isNear.count && (scores.isEmpty || scores.count == distance.count), "one of each for every node")
        self.distance = distance
        self.isNear = isNear
        self.scores = scores
        self.badnessThreshold = badnessThreshold
    }

    /// The same distances with other scores.
    public func with(scores: [Double], badnessThreshold: Double) -> ReplicaOrder {
        ReplicaOrder(distance: distance, isNear: isNear, scores: scores, badnessThreshold: badnessThreshold)
    }

    /// Sorts indexes of nodes, best to ask first; for a handful of them. Allocates nothing.
    public func sort(_ replicas: inout [Int]) {
        replicas.insertionSort { a, b in isNear[a] != isNear[b] ? isNear[a] : distance[a] < distance[b] }
        guard !scores.isEmpty else { return }
        let boundary = replicas.firstIndex { !isNear[$0] } ?? replicas.count
        sortByScore(&replicas, 0..<boundary)
        sortByScore(&replicas, boundary..<replicas.count)
    }

    private func sortByScore(_ replicas: inout [Int], _ part: Range<Int>) {
        for (place, index) in part.enumerated() {
            // The place's score by score is too good for it when so many are better by the threshold.
            let score = scores[replicas[index]]
            if part.count(where: { scores[replicas[$0]] * (1 + badnessThreshold) < score }) > place {
                return replicas.insertionSort(part) { scores[$0] < scores[$1] }
            }
        }
    }

    /// Whether other scores are so near these that no order need change for them.
    public func isClose(to others: [Double]) -> Bool {
        guard scores.count == others.count else { return false }
        return zip(scores, others).allSatisfy { a, b in (a == 0) == (b == 0) && abs(a - b) * 32 <= max(a, b) }
    }
}

extension Ring {
    /// How far each node is from one of them: 0 itself, 1 its rack, 2 its data center, 3 the others.
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
    /// Sorts a part in place and keeps the order of equals; for a handful of elements.
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
