import Messages
import Primitives

extension Gossiper {
    /// Adopts states saved earlier or received in a shadow round. They are second-hand, so they mark no node up.
    public mutating func adopt(_ entries: [GossipEntry], now: Int64, wall: Int64) -> [GossipEffect] {
        apply(entries, now: now, wall: wall)
        return drain()
    }

    mutating func apply(_ entries: [GossipEntry], now: Int64, wall: Int64) {
        for entry in entries {
            if entry.endpoint == configuration.endpoint {
                checkOwnGeneration(entry.state, wall: wall)
            } else if quarantined[entry.endpoint] == nil {
                apply(entry.state, of: entry.endpoint, now: now, wall: wall)
            }
        }
    }

    private mutating func checkOwnGeneration(_ state: GossipState, wall: Int64) {
        guard state.heartBeat.generation > local.heartBeat.generation,
            isPlausible(state.heartBeat.generation, of: configuration.endpoint, wall: wall)
        else { return }
        effects.append(.event(.superseded(generation: state.heartBeat.generation, status: state.status)))
    }

    private mutating func isPlausible(_ generation: Int64, of endpoint: Endpoint, wall: Int64) -> Bool {
        let limit = wall / 1_000_000 + configuration.generationLead
        if generation <= limit { return true }
        effects.append(.event(.refused(.generationTooFarAhead(endpoint, offered: generation, limit: limit))))
        return false
    }

    private mutating func apply(_ news: GossipState, of endpoint: Endpoint, now: Int64, wall: Int64) {
        let generation = news.heartBeat.generation
        guard isPlausible(generation, of: endpoint, wall: wall) else { return }
        let known = peers[endpoint]?.state
        if let known, generation < known.heartBeat.generation {
            effects.append(
                .event(.refused(.lowerGeneration(endpoint, offered: generation, known: known.heartBeat.generation))))
            return
        }
        // Do not learn an expired node again: all nodes will have forgotten it by now.
        if known == nil, let expires = news.status?.expires, expires <= wall { return }
        if let id = news.hostID, id != known?.hostID, !admit(id, at: endpoint, generation: generation, now: now) {
            return
        }
        guard let known, generation == known.heartBeat.generation else {
            begin(news, of: endpoint, known: known, now: now)
            return
        }
        update(known, with: news, of: endpoint, now: now)
    }

    /// Starts to track a node that is new, or whose generation is new.
    private mutating func begin(_ news: GossipState, of endpoint: Endpoint, known: GossipState?, now: Int64) {
        var peer = peers[endpoint] ?? GossipPeer(state: news, heardAt: now)
        let wasGone = peer.isGone && known != nil
        if let old = known?.hostID, old != news.hostID, endpointOf[old] == endpoint { endpointOf[old] = nil }
        peer.state = news
        peer.heardAt = now
        peer.wasAlive = peer.isAlive
        if known == nil { order.insert(endpoint, at: order.firstIndex { $0 > endpoint } ?? order.count) }
        peers[endpoint] = peer
        if let id = news.hostID { endpointOf[id] = endpoint }
        if known == nil {
            effects.append(.event(.joined(endpoint)))
            detector.forget(endpoint)
        } else if !peer.isGone {
            effects.append(.event(.nodeRestarted(endpoint, generation: news.heartBeat.generation)))
            detector.expect(endpoint, now: now)
        }
        for value in news.values.sorted(by: { ($0.version, $0.key) < ($1.version, $1.key) }) {
            effects.append(.event(.stateChanged(endpoint, value)))
        }
        // A greater generation than the known one proves that the node restarted.
        if known != nil { markUp(endpoint, now: now) }
        settle(endpoint, wasGone: wasGone)
    }

    private mutating func update(_ known: GossipState, with news: GossipState, of endpoint: Endpoint, now: Int64) {
        guard var peer = peers[endpoint] else { return }
        let wasGone = peer.isGone
        let beats = news.heartBeat.version > known.heartBeat.version
        if beats {
            peer.state.heartBeat = news.heartBeat
            peer.heardAt = now
        }
        var changes: [GossipValue] = []
        for value in news.values where value.version > known[value.key]?.version ?? -1 {
            peer.state.set(value)
            changes.append(value)
        }
        if let old = known.hostID, let new = peer.state.hostID, old != new, endpointOf[old] == endpoint {
            endpointOf[old] = nil
        }
        peers[endpoint] = peer
        if let id = peer.state.hostID { endpointOf[id] = endpoint }
        changes.sort { ($0.version, $0.key) < ($1.version, $1.key) }
        for value in changes { effects.append(.event(.stateChanged(endpoint, value))) }
        if beats {
            if peer.isAlive { detector.report(endpoint, now: now) }
            markUp(endpoint, now: now)
        }
        settle(endpoint, wasGone: wasGone)
    }

    /// Marks the node down if its new status requires it.
    private mutating func settle(_ endpoint: Endpoint, wasGone: Bool) {
        guard let peer = peers[endpoint], !peer.canBeUp else { return }
        markDown(endpoint, peer.isGone ? .gone : .shutdown)
        if peer.isGone && !wasGone { effects.append(.event(.left(endpoint))) }
    }

    /// Returns whether a node at `endpoint` may use this host id. If a dead node holds it, that node has moved to
    /// `endpoint`.
    private mutating func admit(_ id: UUID, at endpoint: Endpoint, generation: Int64, now: Int64) -> Bool {
        guard let holder = self.endpoint(of: id), holder != endpoint else { return true }
        if let peer = peers[holder], !peer.isAlive, generation > peer.state.heartBeat.generation {
            effects.append(.event(.addressChanged(id, from: holder, to: endpoint)))
            forget(holder, now: now)
            return true
        }
        effects.append(.event(.refused(.hostIDConflict(id, known: holder, newcomer: endpoint))))
        if peers[endpoint] != nil {
            markDown(endpoint, .refused)
            forget(endpoint, now: now)
        } else {
            ban(endpoint, until: now + configuration.quarantine)
        }
        return false
    }

    // MARK: Up, down, forgotten

    mutating func markUp(_ endpoint: Endpoint, now: Int64) {
        guard let peer = peers[endpoint], !peer.isAlive, peer.canBeUp else { return }
        peers[endpoint]?.isAlive = true
        peers[endpoint]?.wasAlive = true
        detector.expect(endpoint, now: now)
        effects.append(.event(.nodeUp(endpoint)))
    }

    mutating func markDown(_ endpoint: Endpoint, _ reason: DownReason) {
        guard let peer = peers[endpoint], peer.isAlive else { return }
        peers[endpoint]?.isAlive = false
        effects.append(.event(.nodeDown(endpoint, reason)))
    }

    mutating func forget(_ endpoint: Endpoint, now: Int64) {
        guard let peer = peers.removeValue(forKey: endpoint) else { return }
        order.removeAll { $0 == endpoint }
        if let id = peer.state.hostID, endpointOf[id] == endpoint { endpointOf[id] = nil }
        detector.forget(endpoint)
        ban(endpoint, until: now + configuration.quarantine)
        effects.append(.event(.removed(endpoint)))
    }

    private mutating func ban(_ endpoint: Endpoint, until: Int64) {
        if quarantined.updateValue(until, forKey: endpoint) == nil {
            quarantineOrder.insert(endpoint, at: quarantineOrder.firstIndex { $0 > endpoint } ?? quarantineOrder.count)
        }
    }

    mutating func release(_ endpoint: Endpoint) {
        quarantined[endpoint] = nil
        quarantineOrder.removeAll { $0 == endpoint }
    }
}
