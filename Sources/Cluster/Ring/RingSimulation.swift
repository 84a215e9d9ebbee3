import Messages
import Primitives

/// Evaluates a token strategy: how unevenly it loads the nodes, and how much data a join or a leave moves.
///
/// The cluster is built by one join after another, as a real one would be; then one more node joins, or one leaves.
public struct RingSimulation: Sendable {
    public let strategy: TokenStrategy
    /// Nodes before the change, at least 1.
    public let nodes: Int
    /// Racks, assigned to nodes in turn. More than one: simulates NetworkTopologyStrategy, else SimpleStrategy.
    public let racks: Int
    public let replicationFactor: Int
    public let seed: UInt64

    public init(strategy: TokenStrategy, nodes: Int, racks: Int = 1, replicationFactor: Int, seed: UInt64) {
        self.strategy = strategy
        self.nodes = max(1, nodes)
        self.racks = max(1, racks)
        self.replicationFactor = max(1, replicationFactor)
        self.seed = seed
    }

    /// Returns the rows of a comparison: for each strategy, each replication factor and each change.
    public static func compare(
        _ strategies: [TokenStrategy], nodes: Int, racks: Int = 1, factors: ClosedRange<Int> = 1...3, seed: UInt64
    ) throws(TokenError) -> [RingSimulationRow] {
        var rows: [RingSimulationRow] = []
        for strategy in strategies {
            for factor in factors {
                rows += try RingSimulation(
                    strategy: strategy, nodes: nodes, racks: racks, replicationFactor: factor, seed: seed
                ).run()
            }
        }
        return rows
    }

    /// Returns one row for a join, and one for a leave unless the cluster has a single node.
    public func run() throws(TokenError) -> [RingSimulationRow] {
        var allocator = TokenAllocator(strategy: strategy, seed: seed)
        var before = Ring(nodes: [], partitions: strategy.ringPartitions)
        for number in 0..<nodes { before = try join(before, number, &allocator) }
        var rows = [row(.join, before, try join(before, nodes, &allocator))]
        if nodes > 1 { rows.append(row(.leave, before, try leave(before, &allocator))) }
        return rows
    }

    /// Returns the ring of `nodes` nodes before the change.
    public func ring() throws(TokenError) -> Ring {
        var allocator = TokenAllocator(strategy: strategy, seed: seed)
        var ring = Ring(nodes: [], partitions: strategy.ringPartitions)
        for number in 0..<nodes { ring = try join(ring, number, &allocator) }
        return ring
    }

    private func join(_ ring: Ring, _ number: Int, _ allocator: inout TokenAllocator) throws(TokenError) -> Ring {
        let location = Location(dataCenter: Location.unknown.dataCenter, rack: "rack\(number % racks + 1)")
        let claims = try allocator.tokens(forNodeAt: location, joining: ring)
        let newcomer = RingNode(
            id: UUID(high: 0, low: UInt64(number + 1)),
            endpoint: Endpoint(address: "node\(number + 1)", port: Endpoint.defaultPort),
            location: location, claims: claims)
        return Ring(nodes: ring.nodes + [newcomer], partitions: ring.partitions)
    }

    private func leave(_ ring: Ring, _ allocator: inout TokenAllocator) throws(TokenError) -> Ring {
        var members = ring.nodes
        let leaver = members.count / 2
        members[leaver].state = .leaving(heirs: try allocator.heirs(of: members[leaver].id, leaving: ring))
        return Ring(nodes: members, partitions: ring.partitions).future
    }

    private func row(_ change: RingSimulationRow.Change, _ before: Ring, _ after: Ring) -> RingSimulationRow {
        let replication: ReplicationStrategy =
            racks > 1
            ? .networkTopology([Location.unknown.dataCenter: replicationFactor]) : .simple(factor: replicationFactor)
        let old = ReplicaTable(ring: before, strategy: replication)
        let new = ReplicaTable(ring: after, strategy: replication)
        let moved = old.transfers(to: new).reduce(0) { $0 + $1.range.fraction }
        let stored = old.shares.reduce(0, +)
        return RingSimulationRow(
            strategy: strategy, change: change, nodes: nodes, racks: racks, replicationFactor: replicationFactor,
            skewBefore: RingSimulation.skew(old), skewAfter: RingSimulation.skew(new), moved: moved / stored)
    }

    /// Returns the greatest share of a node divided by the mean of the nodes that own tokens: 1 is even.
    public static func skew(_ table: ReplicaTable) -> Double {
        let owning = table.ring.owningNodes
        let shares = table.shares
        let sum = owning.reduce(0) { $0 + shares[$1] }
        let greatest = owning.reduce(0) { max($0, shares[$1]) }
        return sum > 0 ? greatest * Double(owning.count) / sum : 1
    }
}
