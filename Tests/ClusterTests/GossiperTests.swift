import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct GossiperTests {
    typealias World = GossipWorld
    static let seeds = [World.endpoint(0)]

    static func world(_ count: Int, seed: UInt64) -> World {
        var world = World(seed: seed)
        for number in 0..<count { world.start(World.endpoint(number), seeds: seeds) }
        return world
    }

    private func downs(_ events: [GossipEvent]) -> [GossipEvent] {
        events.filter { if case .nodeDown = $0 { true } else { false } }
    }

    @Test(arguments: [(3, 0.0, 11), (3, 0.3, 12), (7, 0.2, 13), (20, 0.1, 14), (50, 0.0, 15), (50, 0.1, 16)])
    func clusterConverges(count: Int, loss: Double, seed: Int) {
        var world = Self.world(count, seed: UInt64(seed))
        world.loss = loss
        var seconds = 0
        while !world.converged && seconds < 60 {
            world.run(seconds: 1)
            seconds += 1
        }
        #expect(world.converged, "seed \(seed)")
        #expect(seconds <= 25, "seed \(seed): \(seconds) s")
        world.run(seconds: count > 20 ? 25 : 120)
        #expect(world.converged && downs(world.events()).isEmpty, "seed \(seed)")
    }

    @Test func sameSeedGivesTheSameTranscript() {
        func transcript(_ seed: UInt64) -> String {
            var world = Self.world(12, seed: seed)
            world.loss = 0.2
            world.run(seconds: 30)
            world.stop(World.endpoint(3))
            world.run(seconds: 60)
            return world.transcript
        }
        #expect(transcript(1) == transcript(1))
        #expect(transcript(1) != transcript(2))
    }

    @Test(arguments: [3, 12]) func deadNodeIsConvictedAndRestartedNodeIsUp(count: Int) {
        var world = Self.world(count, seed: 3)
        world.run(seconds: 60)
        let victim = World.endpoint(2)
        let id = world.nodes[victim]!.configuration.hostID
        let died = world.now
        world.stop(victim)
        world.run(seconds: 15)
        #expect(downs(world.events(since: died)).isEmpty)
        world.run(seconds: 30)
        for endpoint in world.order {
            let events = downs(world.events(of: endpoint, since: died))
            guard events.count == 1, case .nodeDown(victim, .convicted(let why)) = events[0] else {
                Issue.record("\(endpoint): \(events)")
                continue
            }
            #expect(why.convicted && why.phi > 8 && why.samples > 20 && why.description.contains("; convicted"))
            #expect(world.nodes[endpoint]!.unreachableEndpoints == [victim])
        }
        let restarted = world.now
        let generation = world.wall / 1_000_000
        world.start(victim, hostID: id, seeds: Self.seeds)
        world.run(seconds: 10)
        #expect(world.converged)
        for endpoint in world.order where endpoint != victim {
            let events = world.events(of: endpoint, since: restarted)
            #expect(events.contains(.nodeRestarted(victim, generation: generation)) && events.contains(.nodeUp(victim)))
        }
    }

    @Test func lowerGenerationIsRefusedAndReported() {
        var world = Self.world(3, seed: 4)
        world.run(seconds: 10)
        let victim = World.endpoint(2)
        let known = world.nodes[victim]!.local.heartBeat.generation
        let id = world.nodes[victim]!.configuration.hostID
        world.stop(victim)
        world.start(victim, hostID: id, seeds: Self.seeds, generation: known - 5)
        let restarted = world.now
        world.run(seconds: 5)
        #expect(world.events(of: victim, since: restarted).contains(.superseded(generation: known, status: .normal)))
        let stale = GossipMessage.ack2(states: [GossipEntry(endpoint: victim, state: world.nodes[victim]!.local)])
        let before = world.nodes[World.endpoint(0)]!.state(of: victim)
        world.act(World.endpoint(0)) { $0.receive(stale, from: victim, now: $1, wall: $2) }
        #expect(world.nodes[World.endpoint(0)]!.state(of: victim) == before)
        #expect(
            world.events(of: World.endpoint(0)).contains(
                .refused(.lowerGeneration(victim, offered: known - 5, known: known))))
        world.act(victim) { gossiper, _, _ in
            gossiper.raiseGeneration(to: known + 1)
            return []
        }
        world.run(seconds: 10)
        #expect(world.converged)
    }

    @Test func generationAYearAheadIsRefused() {
        var world = Self.world(2, seed: 5)
        let liar = World.endpoint(9)
        world.start(liar, seeds: Self.seeds, generation: World.epoch / 1_000_000 + 31_536_000 + 100)
        world.run(seconds: 20)
        #expect(world.nodes[World.endpoint(0)]!.state(of: liar) == nil)
        #expect(
            world.events(of: World.endpoint(0)).contains {
                if case .refused(.generationTooFarAhead(liar, _, _)) = $0 { true } else { false }
            })
    }

    @Test func secondNodeWithAHostIDIsQuarantined() {
        var world = Self.world(4, seed: 6)
        world.run(seconds: 20)
        let original = World.endpoint(2)
        let copy = World.endpoint(9)
        let id = world.nodes[original]!.configuration.hostID
        let started = world.now
        world.start(copy, hostID: id, seeds: Self.seeds)
        world.run(seconds: 30)
        let conflict = GossipEvent.refused(.hostIDConflict(id, known: original, newcomer: copy))
        #expect(world.events(of: World.endpoint(0), since: started).contains(conflict))
        for number in 0..<4 {
            let gossiper = world.nodes[World.endpoint(number)]!
            #expect(gossiper.state(of: copy) == nil && gossiper.endpoint(of: id) == original)
            #expect(gossiper.isAlive(original))
        }
        #expect(
            "\(GossipRefusal.hostIDConflict(id, known: original, newcomer: copy))".contains("which is alive: refused"))
    }

    @Test func deadNodeMayReturnAtAnotherAddress() {
        var world = Self.world(4, seed: 7)
        world.run(seconds: 20)
        let former = World.endpoint(2)
        let id = world.nodes[former]!.configuration.hostID
        world.stop(former)
        world.run(seconds: 40)
        let moved = World.endpoint(20)
        let started = world.now
        world.start(moved, hostID: id, seeds: Self.seeds)
        world.run(seconds: 150)
        #expect(world.converged)
        for endpoint in world.order where endpoint != moved {
            #expect(world.nodes[endpoint]!.endpoint(of: id) == moved && world.nodes[endpoint]!.state(of: former) == nil)
            #expect(world.events(of: endpoint, since: started).contains(.addressChanged(id, from: former, to: moved)))
        }
    }

    @Test func messagesOfAnotherClusterAreRefused() {
        var world = Self.world(2, seed: 8)
        let stranger = World.endpoint(5)
        world.start(stranger, seeds: Self.seeds, cluster: "other")
        world.run(seconds: 20)
        #expect(world.nodes[World.endpoint(0)]!.state(of: stranger) == nil && world.nodes[stranger]!.endpoints.isEmpty)
        let seen = GossipEvent.refused(.clusterNameMismatch(stranger, theirs: "other", ours: "test"))
        let told = GossipEvent.refused(.clusterNameMismatch(World.endpoint(0), theirs: "test", ours: "other"))
        #expect(world.events(of: World.endpoint(0)).contains(seen) && world.events(of: stranger).contains(told))
    }

    @Test func changedValueReachesAllNodesInOrder() {
        var world = Self.world(8, seed: 9)
        world.run(seconds: 15)
        let changed = world.now
        world.act(World.endpoint(1)) { gossiper, _, _ in
            gossiper.setLocal(.load, "5")
            gossiper.setLocal(.schema, "a")
            gossiper.setLocal(status: .leaving)
            return []
        }
        world.run(seconds: 10)
        #expect(world.converged)
        for endpoint in world.order where endpoint != World.endpoint(1) {
            let keys = world.events(of: endpoint, since: changed).compactMap { event -> GossipKey? in
                if case .stateChanged(World.endpoint(1), let value) = event { value.key } else { nil }
            }
            #expect(keys == [.load, .schema, .status])
        }
        #expect(world.nodes[World.endpoint(0)]!.endpoints.count == 7)
        #expect(world.nodes[World.endpoint(0)]!.state(of: World.endpoint(1))?.status == .leaving)
        #expect(world.nodes[World.endpoint(0)]!.describe(now: world.now).contains("status: LEAVING"))
    }

    @Test func orderlyShutdownIsKnownAtOnce() {
        var world = Self.world(5, seed: 10)
        world.run(seconds: 15)
        let stopped = world.now
        world.act(World.endpoint(1)) { gossiper, _, _ in gossiper.shutdown() }
        world.run(seconds: 0.1)
        world.stop(World.endpoint(1))
        for endpoint in world.order {
            #expect(world.events(of: endpoint, since: stopped).contains(.nodeDown(World.endpoint(1), .shutdown)))
        }
        world.run(seconds: 40)
        for endpoint in world.order { #expect(!world.nodes[endpoint]!.isAlive(World.endpoint(1))) }
    }
}
