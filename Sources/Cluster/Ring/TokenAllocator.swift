import Primitives

/// Chooses the tokens of a joining node and the heirs of a leaving node.
///
/// The result depends only on the ring, the strategy and the seed.
///
/// With Q equal partitions and S nodes in the newcomer's data center, including the newcomer:
/// 1. The newcomer gets Q / S partitions, rounded down.
/// 2. It takes them one at a time from the node that owns the most.
/// 3. Of that node's partitions it takes the one whose neighbours on the ring belong least to the newcomer itself or
///    its rack. The replicas of a partition are the owners of the following partitions, so this keeps replicas distinct
///    and evenly spread.
/// A leaving node gives its partitions one at a time to the node that owns the fewest, by the same neighbour rule.
public struct TokenAllocator: Sendable {
    public let strategy: TokenStrategy
    var random: SeededRandom

    public init(strategy: TokenStrategy, seed: UInt64) {
        self.strategy = strategy
        random = SeededRandom(seed: seed)
    }

    /// Returns the tokens that a node new to the ring should claim.
    ///
    /// With equal partitions these are other nodes' tokens, claimed with a greater epoch.
    public mutating func tokens(forNodeAt location: Location, joining ring: Ring) throws(TokenError) -> [TokenClaim] {
        switch strategy {
        case .random(let count), .randomOverPartitions(_, let count): return randomTokens(count, ring)
        case .equalPartitions(let grid):
            var board = try PartitionAssignment(ring: ring, dataCenter: location.dataCenter, grid: grid)
            guard !board.nodes.isEmpty else {
                return board.grid.ends.map { TokenClaim($0, epoch: ring.epoch(of: $0)) }
            }
            let quota = grid.count / (board.nodes.count + 1)
            guard quota > 0 else { throw .tooManyNodes(partitions: grid.count, nodes: board.nodes.count + 1) }
            let newcomer = board.add(rack: location.rack)
            var taken: [Int] = []
            for _ in 0..<quota {
                let donor = board.fullest(except: newcomer)
                let partition = try board.bestPartition(of: donor, for: newcomer, using: &random)
                board.give(partition, to: newcomer)
                taken.append(partition)
            }
            return taken.map { board.grid.end(of: $0) }.sorted().map {
                TokenClaim($0, epoch: ring.epoch(of: $0)).successor()
            }
        }
    }

    /// Returns the heir of each token of a leaving node; empty when each token goes to the next node clockwise, or when
    /// no other node remains.
    public mutating func heirs(of id: UUID, leaving ring: Ring) throws(TokenError) -> [TokenSuccessor] {
        guard let index = ring.index(of: id) else { throw .unknownNode(id) }
        guard case .equalPartitions(let grid) = strategy else { return [] }
        var board = try PartitionAssignment(ring: ring, dataCenter: ring.nodes[index].location.dataCenter, grid: grid)
        guard board.nodes.count > 1, let leaver = board.nodes.firstIndex(of: index) else { return [] }
        var heirs: [TokenSuccessor] = []
        for partition in board.partitions(of: leaver) {
            let heir = board.bestHeir(of: partition, leaver: leaver, using: &random)
            board.give(partition, to: heir)
            heirs.append(TokenSuccessor(token: board.grid.end(of: partition), heir: ring.nodes[board.nodes[heir]].id))
        }
        return heirs.sorted { $0.token < $1.token }
    }

    private mutating func randomTokens(_ count: Int, _ ring: Ring) -> [TokenClaim] {
        var chosen: [Int64] = []
        while chosen.count < count {
            let token = Int64(bitPattern: random.next())
            let position = ring.tokens.firstIndex(notBefore: token)
            let taken = position < ring.tokens.count && ring.tokens[position] == token
            if token != Int64.min && !taken && !chosen.contains(token) { chosen.append(token) }
        }
        return chosen.sorted().map { TokenClaim($0) }
    }
}
