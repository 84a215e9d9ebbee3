import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct ShadowRoundTests {
    private let second: Int64 = 1_000_000
    private let a = Endpoint(address: "10.0.0.1", port: 7000)
    private let b = Endpoint(address: "10.0.0.2", port: 7000)
    private let c = Endpoint(address: "10.0.0.3", port: 7000)

    private func configuration(_ endpoint: Endpoint, seeds: [Endpoint], cluster: String = "test", id: UInt64? = nil)
        -> GossipConfiguration
    {
        GossipConfiguration(
            clusterName: cluster, endpoint: endpoint,
            hostID: UUID(high: 0, low: id ?? UInt64(endpoint.address.utf8.last!)), seeds: seeds)
    }

    @Test func onlySeedFoundsTheClusterAtOnce() {
        for seeds in [[a], []] {
            var round = ShadowRound(configuration: configuration(a, seeds: seeds))
            #expect(round.tick(now: 5) == [] && round.outcome == .founded)
        }
    }

    @Test func firstOfSeveralSeedsFoundsTheCluster() {
        var first = ShadowRound(configuration: configuration(a, seeds: [a, b]))
        var other = ShadowRound(configuration: configuration(b, seeds: [a, b]))
        for time in 0..<8 {
            let now = Int64(time) * second
            for effect in other.tick(now: now) {
                guard case .send(let question, a) = effect else { continue }
                for answer in first.receive(question, from: b, now: now) {
                    guard case .send(let message, b) = answer else { continue }
                    _ = other.receive(message, from: a, now: now)
                }
            }
            for effect in first.tick(now: now) {
                guard case .send(let question, b) = effect else { continue }
                for answer in other.receive(question, from: a, now: now) {
                    guard case .send(let message, a) = answer else { continue }
                    _ = first.receive(message, from: b, now: now)
                }
            }
        }
        #expect(first.outcome == .founded && other.outcome == nil)
        // The first node dies before it has told anyone; the other founds the cluster instead.
        for time in 8..<20 { _ = other.tick(now: Int64(time) * second) }
        #expect(other.outcome == .founded)
    }

    @Test func joinFailsWhenNoSeedAnswers() {
        var round = ShadowRound(configuration: configuration(c, seeds: [a, b]))
        for time in 0..<30 {
            #expect(round.tick(now: Int64(time) * second).count == 2 && round.outcome == nil)
        }
        #expect(round.tick(now: 30 * second) == [])
        #expect(round.outcome == .failed(.noAnswer(seeds: [a, b])))
    }

    @Test func seedSendsAllStatesToANewcomer() throws {
        var world = GossiperTests.world(40, seed: 31)
        world.run(seconds: 30)
        for number in 1..<8 {
            world.act(GossipWorld.endpoint(number)) { gossiper, _, _ in
                gossiper.setLocal(.releaseVersion, [UInt8](repeating: 0x30, count: 48_000))
                return []
            }
        }
        world.run(seconds: 30)
        let seed = GossipWorld.endpoint(0)
        let twin = world.nodes[GossipWorld.endpoint(5)]!.configuration.hostID
        var newcomer = configuration(GossipWorld.endpoint(7), seeds: [seed])
        newcomer.hostID = twin
        var round = ShadowRound(configuration: newcomer)
        var answers = 0
        for effect in round.tick(now: 0) {
            guard case .send(let question, seed) = effect else { continue }
            var gossiper = world.nodes[seed]!
            for answer in gossiper.receive(question, from: newcomer.endpoint, now: world.now, wall: world.wall) {
                guard case .send(let message, _) = answer else { continue }
                #expect(round.outcome == nil)
                answers += 1
                #expect(round.receive(message, from: seed, now: 1) == [])
            }
        }
        guard case .met(let answer) = round.outcome else {
            Issue.record("\(String(describing: round.outcome))")
            return
        }
        #expect(answers > 1 && answer.states.count == 40 && answer.states.map(\.endpoint) == world.order)
        #expect(answer.ownGeneration == GossipWorld.epoch / 1_000_000)
        #expect(answer.sameHostID == GossipWorld.endpoint(5))
        var gossiper = Gossiper(
            configuration: configuration(GossipWorld.endpoint(90), seeds: [seed]), generation: 1, seed: 1)
        _ = gossiper.adopt(answer.states, now: 0, wall: world.wall)
        #expect(gossiper.endpoints.count == 40 && gossiper.liveEndpoints.isEmpty)
        gossiper.checkInvariants()
    }

    @Test func seedOfAnotherClusterRefuses() {
        var round = ShadowRound(configuration: configuration(c, seeds: [a]))
        _ = round.tick(now: 0)
        _ = round.receive(.refused(clusterName: "other", partitioner: ""), from: a, now: 1)
        #expect(round.outcome == .failed(.refused(.clusterNameMismatch(a, theirs: "other", ours: "test"))))
        var seed = ShadowRound(configuration: configuration(a, seeds: [a, b]))
        let answer = seed.receive(.shadowSyn(clusterName: "other", partitioner: ""), from: c, now: 1)
        #expect(answer == [.send(.refused(clusterName: "test", partitioner: round.configuration.partitioner), to: c)])
    }
}
