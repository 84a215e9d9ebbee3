import Messages
import Primitives

extension Gossiper {
    /// Handles a message of another node.
    ///
    /// - Parameters:
    ///   - sender: the internode endpoint of the sending node, as established by the connection's handshake.
    ///   - now: monotonic microseconds.
    ///   - wall: microseconds since 1970.
    public mutating func receive(_ message: GossipMessage, from sender: Endpoint, now: Int64, wall: Int64)
        -> [GossipEffect]
    {
        guard sender != configuration.endpoint else { return [] }
        if case .shadowSyn(let clusterName, let partitioner) = message {
            if agrees(clusterName, partitioner, sender) { answerShadow(sender) }
            return drain()
        }
        guard quarantined[sender] == nil else { return [] }
        switch message {
        case .shadowSyn: break
        case .syn(let clusterName, let partitioner, let digests):
            guard agrees(clusterName, partitioner, sender) else { return drain() }
            answer(digests, to: sender)
        case .ack(let wanted, let states):
            apply(states, now: now, wall: wall)
            let news = collect(
                wanted.map { Wish(endpoint: $0.endpoint, generation: $0.generation, version: $0.maxVersion) },
                limit: configuration.deltaBytes)
            if !news.isEmpty { effects.append(.send(.ack2(states: news), to: sender)) }
        case .ack2(let states):
            apply(states, now: now, wall: wall)
        case .refused(let clusterName, let partitioner):
            refuse(clusterName, partitioner, sender)
        }
        if let peer = peers[sender], !peer.wasAlive { markUp(sender, now: now) }
        return drain()
    }

    private mutating func agrees(_ clusterName: String, _ partitioner: String, _ sender: Endpoint) -> Bool {
        if clusterName == configuration.clusterName && partitioner == configuration.partitioner { return true }
        refuse(clusterName, partitioner, sender)
        effects.append(
            .send(.refused(clusterName: configuration.clusterName, partitioner: configuration.partitioner), to: sender))
        return false
    }

    private mutating func refuse(_ clusterName: String, _ partitioner: String, _ sender: Endpoint) {
        let refusal: GossipRefusal =
            clusterName != configuration.clusterName
            ? .clusterNameMismatch(sender, theirs: clusterName, ours: configuration.clusterName)
            : .partitionerMismatch(sender, theirs: partitioner, ours: configuration.partitioner)
        effects.append(.event(.refused(refusal)))
    }

    /// A request for everything about a node that is newer than this generation and version.
    private struct Wish {
        let endpoint: Endpoint
        let generation: Int64
        let version: Int64
    }

    private mutating func answer(_ digests: [GossipDigest], to sender: Endpoint) {
        var wanted: [GossipDigest] = []
        var wishes: [Wish] = []
        var mentioned: Set<Endpoint> = []
        for digest in digests {
            mentioned.insert(digest.endpoint)
            guard quarantined[digest.endpoint] == nil else { continue }
            guard let state = state(of: digest.endpoint) else {
                wanted.append(GossipDigest(endpoint: digest.endpoint, generation: digest.generation, maxVersion: 0))
                continue
            }
            let known = state.heartBeat.generation
            if digest.endpoint == configuration.endpoint && digest.generation > known {
                // Only this node itself publishes its state, unless it was removed in its absence: ask for that state.
                wanted.append(GossipDigest(endpoint: digest.endpoint, generation: digest.generation, maxVersion: 0))
            } else if digest.generation > known {
                wanted.append(GossipDigest(endpoint: digest.endpoint, generation: digest.generation, maxVersion: 0))
            } else if digest.generation < known {
                wishes.append(Wish(endpoint: digest.endpoint, generation: known, version: 0))
            } else if digest.maxVersion > state.maxVersion && digest.endpoint != configuration.endpoint {
                wanted.append(GossipDigest(endpoint: digest.endpoint, generation: known, maxVersion: state.maxVersion))
            } else if digest.maxVersion < state.maxVersion {
                wishes.append(Wish(endpoint: digest.endpoint, generation: known, version: digest.maxVersion))
            }
        }
        for endpoint in [configuration.endpoint] + order where !mentioned.contains(endpoint) {
            wishes.append(Wish(endpoint: endpoint, generation: 0, version: 0))
        }
        effects.append(
            .send(.ack(wanted: wanted, states: collect(wishes, limit: configuration.deltaBytes)), to: sender))
    }

    /// Collects the requested states, the most outdated first. Stops at `limit` bytes, but always includes the first
    /// entry whole.
    private func collect(_ wishes: [Wish], limit: Int) -> [GossipEntry] {
        var news: [(lag: Int64, entry: GossipEntry)] = []
        for wish in wishes {
            guard let state = state(of: wish.endpoint), state.heartBeat.generation >= wish.generation else { continue }
            let known = state.heartBeat.generation > wish.generation ? 0 : wish.version
            guard state.maxVersion > known else { continue }
            news.append(
                (
                    state.maxVersion - known,
                    GossipEntry(endpoint: wish.endpoint, state: known == 0 ? state : state.delta(after: known))
                ))
        }
        news.sort { $0.lag != $1.lag ? $0.lag > $1.lag : $0.entry.endpoint < $1.entry.endpoint }
        var result: [GossipEntry] = []
        var bytes = 0
        for (_, entry) in news {
            bytes += entry.state.estimatedBytes + entry.endpoint.address.utf8.count
            if bytes > limit && !result.isEmpty { break }
            result.append(entry)
        }
        return result
    }

    /// Sends everything known, in as many messages as needed. Each message lists the digests of all nodes.
    private mutating func answerShadow(_ sender: Endpoint) {
        let everyone = digests()
        var part: [GossipEntry] = []
        var bytes = 0
        for digest in everyone {
            guard let state = state(of: digest.endpoint) else { continue }
            if bytes > configuration.deltaBytes {
                effects.append(.send(.ack(wanted: everyone, states: part), to: sender))
                part = []
                bytes = 0
            }
            part.append(GossipEntry(endpoint: digest.endpoint, state: state))
            bytes += state.estimatedBytes + digest.endpoint.address.utf8.count
        }
        effects.append(.send(.ack(wanted: everyone, states: part), to: sender))
    }
}
