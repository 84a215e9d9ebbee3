import Primitives

/// Picks the replicas of a token by walking the ring clockwise.
///
/// SimpleStrategy takes the first distinct nodes. NetworkTopologyStrategy walks once with separate counts per data
/// center, as in Cassandra:
/// 1. A data center with factor f, n nodes and r racks takes min(f, n) nodes. At most max(0, f - r) of them may stand
///    on a rack that is already used.
/// 2. A node on an unused rack is taken. A node on a used rack is taken while repeats are left, and otherwise skipped.
/// 3. The walk ends when all data centers have enough. So distinct racks come first; with fewer racks than the factor,
///    every rack is used and the remaining replicas are the first nodes met.
struct ReplicaPlacement {
    private struct Center {
        var wanted: Int
        var repeats: Int
        var rackCount: Int
    }

    let ring: Ring
    let strategy: ReplicationStrategy
    private let local: Int32?
    private let everyone: [Int32]
    /// Per node: the index of its data center in `centers`, -1 if it gets no replicas; and the number of its rack over
    /// all data centers.
    private var centerOf: [Int] = []
    private var rackOf: [Int] = []
    private var centers: [Center] = []
    /// Set to `walk` when the node or rack was met in the current walk.
    private var nodeSeen: [Int]
    private var rackSeen: [Int] = []
    private var walk = 0

    init(ring: Ring, strategy: ReplicationStrategy, local: UUID? = nil) {
        self.ring = ring
        self.strategy = strategy
        self.local = local.flatMap { ring.index(of: $0) }.map { Int32($0) }
        let owning = ring.owningNodes
        everyone = owning.map { Int32($0) }
        nodeSeen = [Int](repeating: 0, count: ring.nodes.count)
        guard case .networkTopology(let factors) = strategy else { return }
        centerOf = [Int](repeating: -1, count: ring.nodes.count)
        rackOf = centerOf
        var rackNames: [Location] = []
        for (name, factor) in factors.sorted(by: { $0.key < $1.key }) where factor > 0 {
            var nodes = 0
            var racks = 0
            for index in owning where ring.nodes[index].location.dataCenter == name {
                centerOf[index] = centers.count
                nodes += 1
                let location = ring.nodes[index].location
                if let known = rackNames.firstIndex(of: location) {
                    rackOf[index] = known
                } else {
                    rackOf[index] = rackNames.count
                    rackNames.append(location)
                    racks += 1
                }
            }
            if nodes > 0 {
                centers.append(Center(wanted: min(factor, nodes), repeats: max(0, factor - racks), rackCount: racks))
            }
        }
        rackSeen = [Int](repeating: 0, count: rackNames.count)
    }

    /// The last tokens of the ranges that have the same replicas throughout, ascending.
    var boundaries: [Int64] {
        switch strategy {
        case .local: return [Int64.max]
        case .everywhere: return ring.tokens.isEmpty ? [] : [Int64.max]
        case .simple, .networkTopology: return ring.tokens.isEmpty ? [] : ring.partitions?.ends ?? ring.tokens
        }
    }

    /// Appends the replicas of a token in the order of the walk, the primary first.
    mutating func appendReplicas(of token: Int64, to result: inout [Int32]) {
        switch strategy {
        case .local: if let local { result.append(local) }
        case .everywhere: result += everyone
        case .simple(let factor): appendSimple(from: start(token), factor: min(factor, everyone.count), to: &result)
        case .networkTopology: appendTopology(from: start(token), to: &result)
        }
    }

    private func start(_ token: Int64) -> Int { ring.tokens.isEmpty ? 0 : ring.start(of: token) }

    private mutating func appendSimple(from start: Int, factor: Int, to result: inout [Int32]) {
        walk += 1
        var left = factor
        var position = start
        for _ in ring.tokens.indices where left > 0 {
            let node = ring.owners[position]
            if nodeSeen[Int(node)] != walk {
                nodeSeen[Int(node)] = walk
                result.append(node)
                left -= 1
            }
            position = position + 1 == ring.tokens.count ? 0 : position + 1
        }
    }

    private mutating func appendTopology(from start: Int, to result: inout [Int32]) {
        walk += 1
        var open = centers
        var unfinished = open.count
        var position = start
        for _ in ring.tokens.indices where unfinished > 0 {
            let node = Int(ring.owners[position])
            position = position + 1 == ring.tokens.count ? 0 : position + 1
            let center = centerOf[node]
            guard center >= 0, open[center].wanted > 0, nodeSeen[node] != walk else { continue }
            if rackSeen[rackOf[node]] == walk {
                guard open[center].repeats > 0 else { continue }
                open[center].repeats -= 1
            }
            rackSeen[rackOf[node]] = walk
            nodeSeen[node] = walk
            result.append(Int32(node))
            open[center].wanted -= 1
            if open[center].wanted == 0 { unfinished -= 1 }
        }
    }
}
