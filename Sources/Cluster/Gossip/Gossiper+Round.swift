import Messages
import Primitives

extension Gossiper {
    /// Runs one gossip round. Call it once a second.
    ///
    /// - Parameters:
    ///   - now: monotonic microseconds.
    ///   - wall: microseconds since 1970.
    public mutating func tick(now: Int64, wall: Int64) -> [GossipEffect] {
        if let paused = detector.tick(now: now) { effects.append(.event(.pausedLocally(paused))) }
        local.heartBeat.version = nextVersion()
        for endpoint in quarantineOrder where (quarantined[endpoint] ?? 0) <= now { release(endpoint) }
        judge(now: now, wall: wall)
        let syn = GossipMessage.syn(
            clusterName: configuration.clusterName, partitioner: configuration.partitioner, digests: digests())
        for target in chooseTargets() { effects.append(.send(syn, to: target)) }
        return drain()
    }

    /// Marks nodes down that the detector convicts, and forgets expired ones.
    private mutating func judge(now: Int64, wall: Int64) {
        for endpoint in order {
            guard let peer = peers[endpoint] else { continue }
            if peer.isAlive, detector.convicts(endpoint, now: now), let why = detector.explain(endpoint, now: now) {
                markDown(endpoint, .convicted(why))
            } else if let expires = peer.state.status?.expires, expires <= wall {
                forget(endpoint, now: now)
            } else if !peer.isAlive, peer.neverOwnedTokens, now - peer.heardAt > configuration.silenceLimit,
                !detector.isPaused(now: now)
            {
                forget(endpoint, now: now)
            }
        }
    }

    /// Returns the nodes to gossip with in this round, without duplicates.
    private mutating func chooseTargets() -> [Endpoint] {
        let live = liveEndpoints
        let dead = unreachableEndpoints
        let seeds = configuration.seeds.filter { $0 != configuration.endpoint && quarantined[$0] == nil }
        var targets: [Endpoint] = []
        if let target = random.element(of: live) { targets.append(target) }
        if !dead.isEmpty, random.chance(Double(dead.count) / Double(live.count + 1)),
            let target = random.element(of: dead)
        {
            targets.append(target)
        }
        let metSeed = targets.contains { seeds.contains($0) }
        if !seeds.isEmpty, !metSeed || live.count < seeds.count {
            let probability = live.isEmpty ? 1 : Double(seeds.count) / Double(live.count + dead.count)
            if random.chance(probability), let target = random.element(of: seeds), !targets.contains(target) {
                targets.append(target)
            }
        }
        return targets
    }

    /// Returns the digests of this node and all others. If there are more nodes than fit in a message, a random
    /// contiguous run of them.
    mutating func digests() -> [GossipDigest] {
        var result = [
            GossipDigest(
                endpoint: configuration.endpoint, generation: local.heartBeat.generation, maxVersion: local.maxVersion)
        ]
        let room = GossipLimits.endpoints - 1
        let start = order.count > room ? random.below(order.count) : 0
        for offset in 0..<min(order.count, room) {
            let endpoint = order[(start + offset) % order.count]
            guard let state = peers[endpoint]?.state else { continue }
            result.append(
                GossipDigest(endpoint: endpoint, generation: state.heartBeat.generation, maxVersion: state.maxVersion))
        }
        return result
    }
}
