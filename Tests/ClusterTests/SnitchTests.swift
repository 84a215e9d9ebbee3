import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct SnitchTests {
    @Test func topologyFileIsRead() throws {
        let text = """
            # the racks
            10.0.0.1=dc1:rack1
              10.0.0.2 = dc1 : rack2 \r
            ! old ones
            10.0.0.2:7001=dc3:rack9
            2001\\:db8\\:\\:1=dc2:rack1
            [fe80::1]:7001=dc2:rack2

            default=dc9:r
            """
        let snitch = try PropertyFileSnitch(parsing: text)
        func place(_ address: String, _ port: Int = 7000) -> String? {
            snitch.location(of: Endpoint(address: address, port: port))?.description
        }
        #expect(
            place("10.0.0.1") == "dc1:rack1" && place("10.0.0.2") == "dc1:rack2"
                && place("10.0.0.2", 7001) == "dc3:rack9")
        #expect(
            place("2001:db8::1") == "dc2:rack1" && place("fe80::1", 7001) == "dc2:rack2"
                && place("fe80::1", 1) == "dc9:r")
        #expect(try PropertyFileSnitch(parsing: "").location(of: Endpoint(address: "a", port: 1)) == nil)
        for (line, wrong) in ["10.0.0.1", "10.0.0.1=dc1", "10.0.0.1=:r", "a b=dc:r", "[::1=dc:r"].enumerated() {
            let before = String(repeating: "\n", count: line)
            let error = #expect(throws: SnitchError.self) { try PropertyFileSnitch(parsing: before + wrong) }
            #expect(error?.line == line + 1, "\(wrong)")
        }
    }

    @Test func rackFileIsRead() throws {
        #expect(
            try RackProperties(parsing: "# here\r\ndc=DC1\r\n rack = r 1 \nprefer_local=true\ndc_suffix=\n").location
                .description
                == "DC1:r 1")
        for (line, wrong) in ["", "\n", "dc=a\nrack", "dc=a\n\nrack=", "dc=a\nrack=b\n\ndc=c", "\n\n\n\nRack=b"]
            .enumerated()
        {
            let error = #expect(throws: SnitchError.self) { try RackProperties(parsing: wrong) }
            #expect(error?.line == (line < 2 ? 0 : line), "\(wrong)")
        }
    }

    private let ring = Ring(nodes: [
        node(1, [1], rack: "a"), node(2, [2], rack: "b"), node(3, [3], rack: "a"), node(4, [4], dc: "dc2"),
        node(5, [5], dc: "dc2"),
    ])

    /// Returns replicas in the order in which node 1 asks them.
    private func sorted(_ replicas: [Int], _ scores: [Double] = [], badnessThreshold: Double = 0.1) -> [Int] {
        let here = ring.nodes[0].location.dataCenter
        let order = ReplicaOrder(
            distance: ring.distances(from: 0), isNear: ring.nodes.map { $0.location.dataCenter == here },
            scores: scores,
            badnessThreshold: badnessThreshold)
        var result = replicas.map { $0 - 1 }
        order.sort(&result)
        return result.map { $0 + 1 }
    }

    @Test func nearReplicasComeFirst() {
        #expect(ring.distances(from: 0) == [0, 2, 1, 3, 3])
        #expect(sorted([5, 4, 2, 3, 1]) == [1, 3, 2, 5, 4])
        #expect(sorted([]) == [])
        #expect(sorted([5, 4, 2, 3, 1], [7, 7, 7, 7, 7]) == [1, 3, 2, 5, 4])
    }

    @Test func slowReplicasComeLaterWithinTheirDataCenter() {
        // Five percent slower does not exceed the threshold. A fast replica in another data center does not overtake.
        #expect(sorted([5, 4, 2, 3, 1], [1_000, 1_000, 1_050, 10, 500]) == [1, 3, 2, 4, 5])
        #expect(sorted([1, 2, 3], [5_000, 1_000, 1_050, 10, 500]) == [2, 3, 1])
        #expect(sorted([1, 2, 3], [5_000, 1_000, 1_050, 10, 500], badnessThreshold: 10) == [1, 3, 2])
        #expect(sorted([1, 2, 3], [5_000, 1_000, 1_050, 10, 500], badnessThreshold: 3.9) == [2, 3, 1])
        // This node is always the fastest. The threshold decides between the other two, of which the nearer one is
        // slower.
        #expect(sorted([1, 2, 3], [30, 300, 700, 0, 0], badnessThreshold: 1) == [1, 2, 3])
        #expect(sorted([1, 2, 3], [30, 300, 590, 0, 0], badnessThreshold: 1) == [1, 3, 2])
        // A replica without a known latency is tried.
        #expect(sorted([1, 2, 3], [30, 0, 500, 0, 0], badnessThreshold: 1) == [2, 1, 3])
    }

    /// If one place exceeds the threshold, the whole order follows the scores; otherwise it follows the distance.
    @Test func badnessThresholdAppliesToEachPosition() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<2_000 {
            let scores = (0..<6).map { _ in Double(random.next() % 8 * 100) }
            let order = ReplicaOrder(
                distance: [0, 1, 1, 2, 2, 2], isNear: [Bool](repeating: true, count: 6), scores: scores,
                badnessThreshold: 0.5)
            var sorted = Array(0..<6)
            order.sort(&sorted)
            let byScore = scores.sorted()
            let isBad = (0..<6).contains { scores[$0] > byScore[$0] * 1.5 }
            #expect(isBad ? sorted.map { scores[$0] } == byScore : sorted == Array(0..<6), "\(scores)")
        }
    }

    @Test func latenciesDecay() throws {
        var snitch = DynamicSnitch()
        let id = { (number: Int) in ring.nodes[number - 1].id }
        func score(_ now: Int64) -> Double { snitch.score(of: id(1), now: now) ?? 0 }
        for step in 0..<20 { snitch.record(id(1), latency: 1_000, now: Int64(step) * 100_000) }
        #expect(abs(score(2_000_000) - 1_000) < 1)
        for step in 20..<60 { snitch.record(id(1), latency: 5_000, now: Int64(step) * 100_000) }
        #expect(score(6_000_000) > 4_500)
        // The score recovers with fast answers.
        for step in 60..<400 { snitch.record(id(1), latency: 900, now: Int64(step) * 100_000) }
        #expect(score(40_000_000) < 910)
        // One slow answer among many counts for little, many together count for more.
        snitch.record(id(1), latency: 10_000, count: 1, now: 40_000_000)
        #expect(score(40_000_000) < 1_600)
        snitch.record(id(1), latency: 10_000, count: 500, now: 40_100_000)
        #expect(score(40_100_000) > 6_000)
        #expect(snitch.score(of: id(1), now: 700_000_000) == nil)
        #expect(snitch.scores(of: ring, now: 41_000_000).dropFirst().allSatisfy { $0 == 0 })
        snitch.forget(id(1))
        #expect(snitch.score(of: id(1), now: 40_100_000) == nil)
    }
}
