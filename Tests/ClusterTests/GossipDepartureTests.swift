import Messages
import Primitives
import Testing

@testable import Cluster

@Suite struct GossipDepartureTests {
    typealias World = GossipWorld

    @Test func nodeThatLeftIsForgottenAndDoesNotComeBack() {
        var world = GossiperTests.world(6, seed: 21)
        world.run(seconds: 20)
        let leaver = World.endpoint(4)
        let left = world.now
        world.act(leaver) { gossiper, _, wall in
            gossiper.setLocal(status: .left(expires: wall + 90 * World.second))
            return gossiper.announce()
        }
        world.run(seconds: 5)
        world.stop(leaver)
        for endpoint in world.order {
            let events = world.events(of: endpoint, since: left)
            #expect(events.contains(.left(leaver)) && events.contains(.nodeDown(leaver, .gone)))
            #expect(world.nodes[endpoint]!.unreachableEndpoints.isEmpty)
        }
        world.run(seconds: 600)
        for endpoint in world.order {
            #expect(world.nodes[endpoint]!.state(of: leaver) == nil && !world.nodes[endpoint]!.isQuarantined(leaver))
            #expect(world.events(of: endpoint).filter { $0 == .removed(leaver) }.count == 1)
            #expect(world.events(of: endpoint, since: left + World.second).filter { $0 == .joined(leaver) }.isEmpty)
        }
    }

    @Test func removedNodeIsIgnored() throws {
        var world = GossiperTests.world(5, seed: 22)
        world.run(seconds: 20)
        let dead = World.endpoint(3)
        #expect(throws: GossipRemovalError.alive(dead)) {
            try world.act(World.endpoint(0)) { try $0.remove(dead, now: $1, wall: $2) }
        }
        #expect(throws: GossipRemovalError.unknownNode(World.endpoint(99))) {
            try world.act(World.endpoint(0)) { try $0.remove(World.endpoint(99), now: $1, wall: $2) }
        }
        let generation = world.nodes[dead]!.local.heartBeat.generation
        let id = world.nodes[dead]!.configuration.hostID
        world.stop(dead)
        world.run(seconds: 40)
        try world.act(World.endpoint(0)) { try $0.remove(dead, now: $1, wall: $2) }
        world.run(seconds: 10)
        for endpoint in world.order {
            #expect(world.events(of: endpoint).contains(.left(dead)))
            #expect(world.nodes[endpoint]!.state(of: dead)?.status?.isGone == true)
        }
        // The removed process resumes: it learns that it was removed, and no node considers it alive.
        let woke = world.now
        world.start(dead, hostID: id, seeds: GossiperTests.seeds, generation: generation)
        world.run(seconds: 30)
        for endpoint in world.order where endpoint != dead { #expect(!world.nodes[endpoint]!.isAlive(dead)) }
        let told = world.events(of: dead, since: woke).contains {
            if case .superseded(generation + 1, .removed) = $0 { true } else { false }
        }
        #expect(told)
    }

    @Test func nodeThatFailsToJoinIsForgotten() {
        var world = GossiperTests.world(4, seed: 23)
        world.run(seconds: 10)
        let visitor = World.endpoint(8)
        world.start(visitor, seeds: GossiperTests.seeds, status: .joining)
        world.run(seconds: 15)
        #expect(world.converged)
        world.stop(visitor)
        world.run(seconds: 200)
        for endpoint in world.order { #expect(world.nodes[endpoint]!.state(of: visitor) == nil) }
        let forgotten = world.now
        world.run(seconds: 200)
        #expect(!world.events(since: forgotten).contains(.joined(visitor)))
    }

    @Test func relayedStateDoesNotReviveDeadNode() {
        var world = GossiperTests.world(4, seed: 24)
        world.run(seconds: 20)
        let dead = World.endpoint(3)
        world.stop(dead)
        world.run(seconds: 40)
        let newcomer = World.endpoint(7)
        world.start(newcomer, seeds: GossiperTests.seeds)
        world.run(seconds: 30)
        #expect(
            world.events(of: newcomer).contains(.joined(dead)) && !world.events(of: newcomer).contains(.nodeUp(dead)))
        #expect(world.nodes[newcomer]!.liveEndpoints == world.order.filter { $0 != newcomer })
    }

    @Test func partitionedClusterConvergesAfterHealing() {
        var world = GossiperTests.world(9, seed: 25)
        world.run(seconds: 30)
        for number in 0..<4 { world.groups[World.endpoint(number)] = 1 }
        world.run(seconds: 60)
        #expect(world.nodes[World.endpoint(8)]!.unreachableEndpoints == (0..<4).map(World.endpoint))
        #expect(world.nodes[World.endpoint(0)]!.unreachableEndpoints == (4..<9).map(World.endpoint))
        world.groups = [:]
        world.run(seconds: 30)
        #expect(world.converged)
    }

    @Test func partitionedClusterConvergesWithoutItsSeed() {
        var world = GossiperTests.world(9, seed: 28)
        world.run(seconds: 30)
        let seed = World.endpoint(0)
        world.stop(seed)
        for number in 1..<5 { world.groups[World.endpoint(number)] = 1 }
        world.run(seconds: 60)
        world.groups = [:]
        world.run(seconds: 30)
        for endpoint in world.order { #expect(world.nodes[endpoint]!.unreachableEndpoints == [seed]) }
    }

    @Test func pausedProcessIsConvictedAndConvictsNoOther() {
        var world = GossiperTests.world(6, seed: 26)
        world.run(seconds: 30)
        let sleeper = World.endpoint(2)
        let began = world.now
        world.paused = [sleeper]
        world.run(seconds: 60)
        world.paused = []
        world.run(seconds: 30)
        #expect(world.converged)
        let events = world.events(of: sleeper, since: began)
        #expect(!events.contains { if case .nodeDown = $0 { true } else { false } })
        #expect(
            events.contains { if case .pausedLocally(let micros) = $0 { micros > 55 * World.second } else { false } })
        let others = world.events(of: World.endpoint(0), since: began)
        #expect(others.contains { if case .nodeDown(sleeper, .convicted) = $0 { true } else { false } })
    }

    @Test func messagesKeepToTheirSizeLimit() {
        var world = World(seed: 27)
        for number in 0..<12 {
            world.start(World.endpoint(number), seeds: GossiperTests.seeds)
            world.act(World.endpoint(number)) { gossiper, _, _ in
                gossiper.setLocal(.releaseVersion, [UInt8](repeating: 0x30, count: 60_000))
                return []
            }
        }
        world.run(seconds: 60)
        #expect(world.converged)
        var newcomer = Gossiper(
            configuration: GossipConfiguration(
                clusterName: "test", endpoint: World.endpoint(50), hostID: UUID(high: 1, low: 1),
                seeds: GossiperTests.seeds),
            generation: 1, seed: 1)
        var asked = world.nodes[World.endpoint(0)]!
        for effect in newcomer.tick(now: world.now, wall: world.wall) {
            guard case .send(let syn, World.endpoint(0)) = effect else { continue }
            for answer in asked.receive(syn, from: World.endpoint(50), now: world.now, wall: world.wall) {
                guard case .send(.ack(_, let states), _) = answer else { continue }
                #expect(
                    states.count == 2 && states.reduce(0) { $0 + $1.state.estimatedBytes } < GossipLimits.deltaBytes)
            }
        }
    }
}
