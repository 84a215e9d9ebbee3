import Primitives

/// The owners of one data center's equal partitions while a join or a leave reassigns them.
///
/// A player is a node of the data center, numbered by its position in `nodes`; the joining node comes after them.
struct PartitionAssignment {
    /// The data center's grid, with its shift.
    let grid: TokenGrid
    /// Indexes in the ring of the data center's nodes that own partitions.
    private(set) var nodes: [Int] = []
    private var racks: [String] = []
    private var counts: [Int] = []
    /// The player that owns each partition.
    private var owners: [Int]

    init(ring: Ring, dataCenter: String, grid: TokenGrid) throws(TokenError) {
        owners = []
        var members: [Int] = []
        for (index, node) in ring.nodes.enumerated() where node.location.dataCenter == dataCenter {
            switch node.state {
            case .normal: members.append(index)
            case .left: break
            default: throw .changeUnderWay(node.id)
            }
        }
        let held = members.map { (node: $0, claims: ring.claims(heldBy: ring.nodes[$0].id)) }.filter {
            !$0.claims.isEmpty
        }
        guard let first = held.first?.claims.first else {
            self.grid = try PartitionAssignment.unusedGrid(ring: ring, grid: grid)
            return
        }
        guard let shift = PartitionAssignment.shift(of: first.token, grid: grid),
            let own = TokenGrid(count: grid.count, shift: shift)
        else {
            throw .foreignToken(first.token, owner: ring.nodes[held[0].node].id)
        }
        self.grid = own
        owners = [Int](repeating: -1, count: own.count)
        for (node, claims) in held {
            for claim in claims {
                guard let partition = own.index(endingIn: claim.token) else {
                    throw .foreignToken(claim.token, owner: ring.nodes[node].id)
                }
                owners[partition] = nodes.count
            }
            nodes.append(node)
            racks.append(ring.nodes[node].location.rack)
            counts.append(claims.count)
        }
    }

    /// Returns how many tokens below the unshifted grid's ends this token lies; nil when that is 1,024 or more.
    private static func shift(of token: Int64, grid: TokenGrid) -> Int? {
        let width: UInt64 = grid.count == 1 ? 0 : 1 << UInt64(64 - grid.count.trailingZeroBitCount)
        let offset = (UInt64(bitPattern: token) ^ (1 << 63)) &+ 1
        let shift = (0 &- offset) & (width &- 1)
        return shift < 1_024 ? Int(shift) : nil
    }

    private static func unusedGrid(ring: Ring, grid: TokenGrid) throws(TokenError) -> TokenGrid {
        var greatest = -1
        for node in ring.nodes {
            guard let first = node.claims.first, let shift = shift(of: first.token, grid: grid) else { continue }
            greatest = max(greatest, shift)
        }
        guard let unused = TokenGrid(count: grid.count, shift: greatest + 1) else {
            throw .tooManyNodes(partitions: grid.count, nodes: ring.nodes.count + 1)
        }
        return unused
    }

    /// Adds a player that owns nothing yet.
    mutating func add(rack: String) -> Int {
        racks.append(rack)
        counts.append(0)
        return counts.count - 1
    }

    mutating func give(_ partition: Int, to player: Int) {
        if owners[partition] >= 0 { counts[owners[partition]] -= 1 }
        owners[partition] = player
        counts[player] += 1
    }

    func partitions(of player: Int) -> [Int] { owners.indices.filter { owners[$0] == player } }

    /// The player that owns the most partitions; the first one on a tie.
    func fullest(except: Int) -> Int {
        var best = except == 0 ? 1 : 0
        for player in counts.indices where player != except && counts[player] > counts[best] { best = player }
        return best
    }

    func bestPartition(
        of donor: Int, for player: Int, using random: inout SeededRandom
    ) throws(TokenError) -> Int {
        var best = -1
        var bestCost = Int.max
        var ties = 0
        for partition in owners.indices where owners[partition] == donor {
            let cost = closeness(of: partition, to: player)
            choose(partition, cost, &best, &bestCost, &ties, using: &random)
        }
        // Metadata from outside may leave partitions without owner.
        guard best >= 0 else { throw .unownedPartitions(of: owners.count) }
        return best
    }

    func bestHeir(of partition: Int, leaver: Int, using random: inout SeededRandom) -> Int {
        var fewest = Int.max
        for player in counts.indices where player != leaver { fewest = min(fewest, counts[player]) }
        var best = -1
        var bestCost = Int.max
        var ties = 0
        for player in counts.indices where player != leaver && counts[player] == fewest {
            choose(player, closeness(of: partition, to: player), &best, &bestCost, &ties, using: &random)
        }
        precondition(best >= 0, "nobody can inherit")
        return best
    }

    /// Keeps the candidate with the lower cost. Among candidates of equal cost each is kept with the same probability.
    private func choose(
        _ candidate: Int, _ cost: Int, _ best: inout Int, _ bestCost: inout Int, _ ties: inout Int,
        using random: inout SeededRandom
    ) {
        if cost < bestCost {
            (best, bestCost, ties) = (candidate, cost, 1)
        } else if cost == bestCost {
            ties += 1
            if random.below(ties) == 0 { best = candidate }
        }
    }

    /// Returns a cost: high when the two neighbours on each side belong to the player itself, lower when they belong to
    /// its rack.
    private func closeness(of partition: Int, to player: Int) -> Int {
        var cost = 0
        let reach = min(2, (owners.count - 1) / 2)
        for distance in stride(from: 1, through: reach, by: 1) {
            for neighbour in [
                (partition + distance) % owners.count, (partition + owners.count - distance) % owners.count,
            ] {
                let owner = owners[neighbour]
                if owner < 0 { continue }
                if owner == player { cost += distance == 1 ? 16 : 8 }
                if racks[owner] == racks[player] { cost += distance == 1 ? 2 : 1 }
            }
        }
        return cost
    }
}
