import Messages
import Primitives
import Testing

@testable import Cluster

/// Returns the numbers of a token's replicas.
private func holders(_ table: ReplicaTable, _ token: Int64) -> [Int] {
    table.replicaIDs(for: token).map { Int($0.low) }
}
private func pending(_ table: ReplicaTable, _ token: Int64) -> [Int] {
    table.pendingReplicas(for: token).map { Int(table.ring.nodes[Int($0)].id.low) }
}

@Suite struct PlacementTests {
    @Test func simpleStrategyTakesTheNextDistinctNodes() {
        let ring = Ring(nodes: [node(1, [10, 40]), node(2, [20, 30]), node(3, [50])])
        let table = ReplicaTable(ring: ring, strategy: .simple(factor: 2))
        #expect(holders(table, 10) == [1, 2])
        #expect(holders(table, 11) == [2, 1])  // 20 and 30 both belong to node 2
        #expect(holders(table, 41) == [3, 1])
        #expect(holders(table, 51) == [1, 2])
        #expect(holders(ReplicaTable(ring: ring, strategy: .simple(factor: 5)), 35) == [1, 3, 2])
        #expect(holders(ReplicaTable(ring: ring, strategy: .everywhere), 35) == [1, 2, 3])
        #expect(holders(ReplicaTable(ring: ring, strategy: .local, local: ring.nodes[1].id), 35) == [2])
        #expect(holders(ReplicaTable(ring: .empty, strategy: .simple(factor: 1)), 35) == [])
    }

    @Test func replicasAreInDistinctRacksWherePossible() {
        let ring = Ring(nodes: [
            node(1, [10], rack: "a"), node(2, [20], rack: "a"), node(3, [30], rack: "b"), node(4, [40], rack: "a"),
            node(5, [50], rack: "c"),
        ])
        let three = ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 3]))
        #expect(holders(three, 5) == [1, 3, 5])
        #expect(holders(three, 15) == [2, 3, 5])
        #expect(holders(three, 35) == [4, 5, 3])
        #expect(holders(three, 45) == [5, 1, 3])
        // Four replicas on three racks: one rack is used twice, with the first node met on a rack that is already used.
        let four = ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 4]))
        #expect(holders(four, 5) == [1, 2, 3, 5])
        #expect(holders(four, 35) == [4, 5, 1, 3])
        #expect(holders(ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 9])), 5) == [1, 2, 3, 4, 5])
    }

    @Test func twoRacksAreBothUsed() {
        let ring = Ring(nodes: [
            node(1, [10], rack: "a"), node(2, [20], rack: "a"), node(3, [30], rack: "a"), node(4, [40], rack: "b"),
        ])
        #expect(holders(ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 2])), 5) == [1, 4])
        #expect(holders(ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 3])), 5) == [1, 2, 4])
    }

    @Test func eachDataCenterHasItsOwnReplicas() {
        let ring = Ring(nodes: [
            node(1, [10], dc: "dc1", rack: "a"), node(2, [20], dc: "dc2", rack: "a"),
            node(3, [30], dc: "dc1", rack: "a"),
            node(4, [40], dc: "dc2", rack: "b"), node(5, [50], dc: "dc2", rack: "a"),
        ])
        let table = ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": 1, "dc2": 2, "dc9": 3]))
        #expect(holders(table, 5) == [1, 2, 4])
        #expect(holders(table, 15) == [2, 3, 4])
        #expect(holders(table, 45) == [5, 1, 4])
        #expect(holders(ReplicaTable(ring: ring, strategy: .networkTopology(["dc2": 0])), 5) == [])
    }

    @Test func joiningNodeIsPendingForItsFutureRanges() {
        let ring = Ring(nodes: [node(1, [10]), node(2, [20]), node(3, [30]), node(4, [15], state: .joining)])
        let table = ReplicaTable(ring: ring, strategy: .simple(factor: 2))
        #expect(holders(table, 12) == [2, 3] && pending(table, 12) == [4])
        #expect(holders(table, 9) == [1, 2] && pending(table, 9) == [4])
        #expect(holders(table, 17) == [2, 3] && pending(table, 17) == [])
        #expect(table.writeReplicas(for: 12).count == 3)
    }

    @Test func rangesOfLeavingNodeArePendingAtNextOwner() {
        let ring = Ring(nodes: [node(1, [10]), node(2, [20], state: .leaving(heirs: [])), node(3, [30]), node(4, [40])])
        let table = ReplicaTable(ring: ring, strategy: .simple(factor: 2))
        #expect(holders(table, 15) == [2, 3] && pending(table, 15) == [4])
        #expect(holders(table, 5) == [1, 2] && pending(table, 5) == [3])
        #expect(pending(table, 25) == [] && pending(table, 35) == [])
        let named = Ring(nodes: [
            node(1, [10]),
            node(2, [20], state: .leaving(heirs: [TokenSuccessor(token: 20, heir: UUID(high: 0, low: 1))])),
            node(3, [30]),
        ])
        #expect(pending(ReplicaTable(ring: named, strategy: .simple(factor: 1)), 15) == [1])
    }

    @Test func replacingNodeIsPendingForTheReplacedOnesRanges() {
        let replacing = Ring(nodes: [
            node(1, [10]), node(2, [20]), node(3, [], state: .replacing(UUID(high: 0, low: 2))),
        ])
        let other = ReplicaTable(ring: replacing, strategy: .simple(factor: 1))
        #expect(holders(other, 15) == [2] && pending(other, 15) == [3] && pending(other, 5) == [])
        #expect(replacing.future.owner(of: 15)?.id.low == 3)
    }

    /// When the change completes, every later owner is among today's natural and pending replicas.
    @Test(arguments: 1...60) func writesReachEveryLaterOwner(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var members: [RingNode] = []
        for number in 1...(4 + random.below(5)) {
            let tokens = (0..<3).map { _ in Int64(random.below(1_000)) * 100 + Int64(number) }
            members.append(node(number, tokens, rack: "r\(random.below(3))"))
        }
        let index = random.below(members.count)
        switch random.below(3) {
        case 0: members[index].state = .leaving(heirs: [])
        case 1: members[index].state = .joining
        default: members[index].state = .replacing(members[(index + 1) % members.count].id)
        }
        let ring = Ring(nodes: members)
        let table = ReplicaTable(ring: ring, strategy: .simple(factor: 2))
        for isDone in [false, true] {
            let later = ReplicaTable(ring: ring.after { _ in isDone }, strategy: .simple(factor: 2))
            for _ in 0..<200 {
                let token = Int64(random.below(110_000))
                let reached = table.writeReplicas(for: token).map { ring.nodes[Int($0)].id }
                for id in later.replicaIDs(for: token) { #expect(reached.contains(id), "seed \(seed) token \(token)") }
            }
        }
    }

    /// Checks distinctness of replicas on random rings against a direct statement of the rules.
    @Test(arguments: 1...40) func everyRangeHasDistinctReplicas(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let members = (1...(1 + random.below(12))).map { number in
            node(
                number, (0..<4).map { _ in Int64(bitPattern: random.next()) }, dc: "dc\(random.below(2) + 1)",
                rack: "r\(random.below(3))")
        }
        let ring = Ring(nodes: members)
        for factor in 1...4 {
            let simple = ReplicaTable(ring: ring, strategy: .simple(factor: factor))
            let topology = ReplicaTable(ring: ring, strategy: .networkTopology(["dc1": factor, "dc2": 1]))
            for position in ring.tokens.indices {
                let token = ring.tokens[position]
                let found = simple.replicas(for: token)
                #expect(Set(found).count == found.count && found.count == min(factor, members.count), "seed \(seed)")
                #expect(found.first == ring.owners[position], "seed \(seed)")
                let spread = topology.replicas(for: token).map { ring.nodes[Int($0)] }
                let here = spread.filter { $0.location.dataCenter == "dc1" }
                let all = members.filter { $0.location.dataCenter == "dc1" }
                #expect(Set(spread.map(\.id)).count == spread.count, "seed \(seed)")
                #expect(here.count == min(factor, all.count), "seed \(seed)")
                let racks = Set(all.map(\.location.rack)).count
                #expect(Set(here.map(\.location.rack)).count == min(factor, racks), "seed \(seed) \(here)")
            }
            let sum = simple.shares.reduce(0, +)
            #expect(abs(sum - Double(min(factor, members.count))) < 1e-9, "seed \(seed)")
        }
    }

    @Test func strategyIsMadeFromReplicationOptions() throws {
        let centers = ["dc1", "dc2"]
        #expect(
            try ReplicationStrategy(
                options: ["class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "3/1"],
                dataCenters: [])
                == .simple(factor: 3))
        #expect(
            try ReplicationStrategy(
                options: ["class": "NetworkTopologyStrategy", "replication_factor": "3", "dc2": "1"],
                dataCenters: centers)
                == .networkTopology(["dc1": 3, "dc2": 1]))
        #expect(throws: PlacementError.unknownStrategy("X")) {
            try ReplicationStrategy(options: ["class": "X"], dataCenters: [])
        }
        #expect(throws: PlacementError.badFactor(key: "dc1", value: "many")) {
            try ReplicationStrategy(options: ["class": "NetworkTopologyStrategy", "dc1": "many"], dataCenters: [])
        }
    }
}
