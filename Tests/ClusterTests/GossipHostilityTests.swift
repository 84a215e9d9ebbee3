import Messages
import Primitives
import Testing

@testable import Cluster

/// Peers that send well-formed messages with arbitrary contents.
@Suite struct GossipHostilityTests {
    private static let numbers: [Int64] = [
        0, 1, 2, 1_700_000_000, 1_700_000_001, 1_731_536_000, Int64.max - 1, Int64.max,
    ]

    private static func number(_ random: inout SeededRandom) -> Int64 { numbers[random.below(numbers.count)] }

    private static func bytes(_ key: GossipKey, _ random: inout SeededRandom) -> [UInt8] {
        let statuses = [
            "NORMAL", "BOOT", "LEFT,9223372036854775807", "LEFT,-5", "REMOVED,1", "SHUTDOWN", "", "REPLACING,",
            "LEAVING", "MOVING",
        ]
        switch key {
        case .status where random.below(8) > 0: return Array(statuses[random.below(statuses.count)].utf8)
        case .hostID where random.below(8) > 0:
            return Array(UUID(high: 0, low: UInt64(random.below(4))).description.utf8)
        default: return (0..<random.below(5)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        }
    }

    private static func message(_ random: inout SeededRandom) -> GossipMessage {
        let digests = (0..<random.below(5)).map { _ in
            GossipDigest(
                endpoint: GossipWorld.endpoint(random.below(6)), generation: number(&random),
                maxVersion: number(&random))
        }
        let entries = (0..<random.below(5)).map { _ in
            let values = GossipKey.allCases.filter { _ in random.below(2) == 0 }.map {
                GossipValue(key: $0, version: number(&random), bytes: bytes($0, &random))
            }
            return GossipEntry(
                endpoint: GossipWorld.endpoint(random.below(6)),
                state: GossipState(
                    heartBeat: HeartBeat(generation: number(&random), version: number(&random)), values: values))
        }
        switch random.below(6) {
        case 0:
            return .syn(
                clusterName: "test", partitioner: "org.apache.cassandra.dht.Murmur3Partitioner", digests: digests)
        case 1: return .ack(wanted: digests, states: entries)
        case 2: return .shadowSyn(clusterName: "test", partitioner: "org.apache.cassandra.dht.Murmur3Partitioner")
        case 3: return .refused(clusterName: "x", partitioner: "y")
        default: return .ack2(states: entries)
        }
    }

    @Test(arguments: 1...12) func hostileMessagesNeverTrap(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var gossiper = Gossiper(
            configuration: GossipConfiguration(
                clusterName: "test", endpoint: GossipWorld.endpoint(0), hostID: UUID(high: 0, low: 0),
                seeds: [GossipWorld.endpoint(1)]),
            generation: 1_700_000_000, seed: UInt64(seed))
        gossiper.setLocal(status: .normal)
        var now: Int64 = 0
        for step in 0..<1_500 {
            now += Int64(random.below(400_000))
            let wall = GossipWorld.epoch + now
            var effects = gossiper.receive(
                Self.message(&random), from: GossipWorld.endpoint(random.below(6)), now: now, wall: wall)
            if random.below(3) == 0 { effects += gossiper.tick(now: now, wall: wall) }
            if random.below(20) == 0 {
                effects += (try? gossiper.remove(GossipWorld.endpoint(random.below(6)), now: now, wall: wall)) ?? []
            }
            for effect in effects {
                guard case .send(let message, let target) = effect else { continue }
                #expect(target != gossiper.configuration.endpoint, "seed \(seed) step \(step)")
                #expect(
                    (try? GossipMessage(decoding: GossipCodecTests.encode(message))) == message,
                    "seed \(seed) step \(step)")
            }
            gossiper.checkInvariants()
            if step % 10 == 0 { _ = gossiper.describe(now: now) }
        }
        #expect(
            gossiper.local.status == .normal && gossiper.endpoint(of: UUID(high: 0, low: 0)) == GossipWorld.endpoint(0))
    }
}
