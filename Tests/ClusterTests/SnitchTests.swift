import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct SnitchTests {
    @Test func aTopologyFileIsRead() throws {
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
        #expect(place("10.0.0.1") == "dc1:rack1" && place("10.0.0.2") == "dc1:rack2" && place("10.0.0.2", 7001) == "dc3:rack9")
        #expect(place("2001:db8::1") == "dc2:rack1" && place("fe80::1", 7001) == "dc2:rack2" && place("fe80::1", 1) == "dc9:r")
        #expect(try PropertyFileSnitch(parsing: "").location(of: Endpoint(address: "a", port: 1)) == nil)
        for (line, wrong) in ["10.0.0.1", "10.0.0.1=dc1", "10.0.0.1=:r", "a b=dc:r", "[::1=dc:r"].enumerated() {
            let before = String(repeating: "\n", count: line)
            let error = #expect(throws: SnitchError.self) { try PropertyFileSnitch(parsing: before + wrong) }
            #expect(error?.line == line + 1, "\(wrong)")
        }
    }

    private let ring = Ring(nodes: [
        node(1, [1], rack: "a"), node(2, [2], rack: "b"), node(3, [3], rack: "a"), node(4, [4], dc: "dc2"), node(5, [5], dc: "dc2"),
    ])

    private func sorted(_ snitch: DynamicSnitch, _ replicas: [Int32], now: Int64 = 0) -> [Int32] {
        var result = replicas
        snitch.sort(&result, in: ring, now: now)
        return result.map { $0 + 1 }
    }

    @Test func nearOnesComeFirst() {
        let snitch = DynamicSnitch(local: ring.nodes[0].id, location: ring.nodes[0].location)
        #expect(sorted(snitch, [4, 3, 1, 2, 0]) == [1, 3, 2, 5, 4])
        #expect(sorted(snitch, []) == [])
    }

    @Test func slowOnesComeLaterWithinTheirDataCenter() {
        var snitch = DynamicSnitch(local: ring.nodes[0].id, location: ring.nodes[0].location)
        let id = { (number: Int) in ring.nodes[number - 1].id }
        for (number, latency) in [(1, 1_000), (3, 1_050), (2, 1_000), (4, 10), (5, 500)] {
            for step in 0..<20 { snitch.record(id(number), latency: Int64(latency), now: Int64(step) * 100_000) }
        }
        // A twentieth slower is not bad enough; another data center does not come first however fast it is.
        #expect(sorted(snitch, [4, 3, 1, 2, 0], now: 2_000_000) == [1, 3, 2, 4, 5])
        for step in 20..<60 { snitch.record(id(1), latency: 5_000, now: Int64(step) * 100_000) }
        #expect(sorted(snitch, [0, 1, 2], now: 6_000_000) == [2, 3, 1])
        let lenient = DynamicSnitch(local: id(1), location: ring.nodes[0].location, badnessThreshold: 10)
        #expect(sorted(lenient, [0, 1, 2]) == [1, 3, 2])
        // It recovers, or is forgotten and tried again.
        for step in 60..<400 { snitch.record(id(1), latency: 900, now: Int64(step) * 100_000) }
        #expect(sorted(snitch, [0, 1, 2], now: 40_000_000) == [1, 3, 2])
        #expect(snitch.score(of: id(4), now: 700_000_000) == nil)
        snitch.forget(id(1))
        #expect(snitch.score(of: id(1), now: 40_000_000) == nil)
    }
}
