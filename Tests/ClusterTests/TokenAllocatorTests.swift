import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct TokenAllocatorTests {
    static let grid = TokenGrid(count: 256)!
    static let strategies: [TokenStrategy] = [
        .random(tokensPerNode: 16), .randomOverPartitions(grid, tokensPerNode: 16), .equalPartitions(grid),
    ]

    /// After each random join or leave, every node owns Q/S partitions, and no more of them moved than necessary.
    @Test(arguments: 1...8) func everyNodeKeepsAnEqualNumberOfPartitions(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var allocator = TokenAllocator(strategy: .equalPartitions(Self.grid), seed: UInt64(seed))
        var ring = Ring.empty
        var next = 1
        for _ in 0..<30 {
            let context: Comment = "seed \(seed), \(ring.nodes.count) nodes, next \(next)"
            let before = ring
            if ring.nodes.count < 2 || random.below(3) > 0 {
                var newcomer = node(next, [], rack: "r\(random.below(3))", state: .joining)
                newcomer.claims = try allocator.tokens(forNodeAt: newcomer.location, joining: ring)
                next += 1
                ring = Ring(nodes: ring.nodes + [newcomer]).future
                let moved = newcomer.claims.count
                #expect(moved == 256 / ring.nodes.count, context)
                for token in before.tokens where !newcomer.claims.contains(where: { $0.token == token }) {
                    #expect(before.owner(of: token)?.id == ring.owner(of: token)?.id, context)
                }
            } else {
                var members = ring.nodes
                let leaver = random.below(members.count)
                members[leaver].state = .leaving(heirs: try allocator.heirs(of: members[leaver].id, leaving: ring))
                let left = members[leaver].id
                ring = Ring(nodes: members).future
                ring = Ring(nodes: ring.nodes.filter { $0.id != left })
                for token in before.tokens where before.owner(of: token)?.id != left {
                    #expect(before.owner(of: token)?.id == ring.owner(of: token)?.id, context)
                }
            }
            #expect(ring.tokens == Self.grid.ends, context)
            let counts = ring.nodes.map { ring.claims(heldBy: $0.id).count }
            #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 2, "\(context): \(counts)")
            #expect(RingSimulation.skew(ReplicaTable(ring: ring, strategy: .simple(factor: 1))) <= 1.1, context)
        }
    }

    /// Metadata of another node may leave most partitions without owner.
    @Test func tooFewOwnedPartitionsAreAnError() {
        let ring = Ring(nodes: [
            RingNode(
                id: UUID(high: 1, low: 1), endpoint: Endpoint(address: "10.0.0.1", port: 7000), location: .unknown,
                claims: [TokenClaim(Self.grid.end(of: 5))])
        ])
        var allocator = TokenAllocator(strategy: .equalPartitions(Self.grid), seed: 1)
        #expect(throws: TokenError.unownedPartitions(of: 256)) {
            try allocator.tokens(forNodeAt: .unknown, joining: ring)
        }
    }

    @Test(arguments: [3, 5, 10]) func joinMovesOneNodesShare(nodes: Int) throws {
        for strategy in Self.strategies {
            for row in try RingSimulation.compare([strategy], nodes: nodes, seed: 7) where row.change == .join {
                if case .equalPartitions = strategy {
                    #expect(row.skewAfter <= (row.replicationFactor == 1 ? 1.04 : 1.34), "\(row)")
                    #expect(abs(row.moved - 1 / Double(nodes + 1)) < 0.05, "\(row)")
                } else {
                    #expect(row.skewAfter < 2.5 && row.moved < 3.0 / Double(nodes + 1), "\(row)")
                }
            }
        }
    }

    @Test func sameSeedGivesTheSameTable() throws {
        let rows = try RingSimulation.compare(Self.strategies, nodes: 4, racks: 2, seed: 5)
        let text = RingSimulationRow.render(rows)
        #expect(
            text == RingSimulationRow.render(try RingSimulation.compare(Self.strategies, nodes: 4, racks: 2, seed: 5)))
        #expect(
            text != RingSimulationRow.render(try RingSimulation.compare(Self.strategies, nodes: 4, racks: 2, seed: 6)))
        #expect(text.split(separator: "\n").count == 19)
        #expect(text.hasPrefix("strategy"))
        #expect(RingSimulationRow.decimal(1.0049, 2) == "1.00" && RingSimulationRow.decimal(0.996, 2) == "1.00")
    }

    @Test func eachDataCenterDividesTheWholeRing() throws {
        var allocator = TokenAllocator(strategy: .equalPartitions(TokenGrid(count: 16)!), seed: 1)
        var ring = Ring.empty
        for (number, dc) in ["dc1", "dc2", "dc1", "dc2", "dc2", "dc3"].enumerated() {
            var newcomer = node(number + 1, [], dc: dc)
            newcomer.claims = try allocator.tokens(forNodeAt: newcomer.location, joining: ring)
            ring = Ring(nodes: ring.nodes + [newcomer])
        }
        #expect(ring.tokens.count == 48 && ring.dataCenters == ["dc1", "dc2", "dc3"])
        let table = ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 1, "dc2": 1, "dc3": 1]))
        let shares = table.shares.map { ($0 * 1000).rounded() / 1000 }
        #expect(shares.sorted() == [0.313, 0.313, 0.375, 0.5, 0.5, 1], "\(shares)")
    }

    @Test func impossibleAllocationsThrow() throws {
        var allocator = TokenAllocator(strategy: .equalPartitions(TokenGrid(count: 2)!), seed: 1)
        let ends = TokenGrid(count: 2)!.ends
        let location = Location(dataCenter: "dc1", rack: "r1")
        let full = Ring(nodes: [node(1, [ends[0]]), node(2, [ends[1]])])
        #expect(throws: TokenError.tooManyNodes(partitions: 2, nodes: 3)) {
            try allocator.tokens(forNodeAt: location, joining: full)
        }
        let busy = Ring(nodes: [node(1, ends), node(2, [], state: .joining)])
        #expect(throws: TokenError.changeUnderWay(busy.nodes[1].id)) {
            try allocator.tokens(forNodeAt: location, joining: busy)
        }
        let foreign = Ring(nodes: [node(1, [5])])
        #expect(throws: TokenError.foreignToken(5, owner: foreign.nodes[0].id)) {
            try allocator.tokens(forNodeAt: location, joining: foreign)
        }
        #expect(throws: TokenError.unknownNode(UUID(high: 1, low: 1))) {
            try allocator.heirs(of: UUID(high: 1, low: 1), leaving: full)
        }
    }
}
