import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Synchronization

extension ClusterService {
    /// The metadata of a cluster that consists of this node.
    static func founding(_ configuration: NodeConfiguration, hostID: UUID, seed: UInt64) throws(NodeError) -> ClusterMetadata {
        let strategy: TokenStrategy
        let grid = TokenGrid(count: configuration.ringPartitions)
        switch (configuration.tokenStrategy, grid) {
        case ("random", _): strategy = .random(tokensPerNode: configuration.numTokens)
        case ("random_over_partitions", let grid?): strategy = .randomOverPartitions(grid, tokensPerNode: configuration.numTokens)
        case (_, let grid?): strategy = .equalPartitions(grid)
        default: throw .identity("ring_partitions must be a power of two")  // not reached: the configuration was checked
        }
        var allocator = TokenAllocator(strategy: strategy, seed: seed)
        let location = Location(dataCenter: configuration.dataCenter, rack: configuration.rack)
        let claims: [TokenClaim]
        do throws(TokenError) {
            claims = try allocator.tokens(forNodeAt: location, joining: Ring(nodes: [], partitions: strategy.ringPartitions))
        } catch { throw .identity("tokens cannot be chosen: \(error)") }
        let node = RingNode(
            id: hostID, endpoint: Endpoint(address: configuration.listenAddress, port: configuration.storagePort), location: location,
            claims: claims)
        return ClusterMetadata(
            epoch: 1, strategy: strategy, members: [ClusterMetadata.Member(node: node, nativePort: configuration.nativeTransportPort)])
    }

    /// A member stays where it is registered: the replicas of its ranges were chosen by it.
    static func checkPlace(_ configuration: NodeConfiguration, hostID: UUID, _ metadata: ClusterMetadata?) throws(NodeError) {
        guard let known = metadata?.member(hostID)?.node.location else { return }
        func refuse(_ what: String, _ now: String, _ before: String) -> NodeError {
            .identity(
                "Cannot start node if snitch's \(what) (\(now)) differs from previous \(what) (\(before)): the data of its ranges would be "
                    + "looked for elsewhere. Set \(before) again, or decommission this node and let it join anew with an empty data directory"
            )
        }
        if known.dataCenter != configuration.dataCenter { throw refuse("data center", configuration.dataCenter, known.dataCenter) }
        if known.rack != configuration.rack { throw refuse("rack", configuration.rack, known.rack) }
    }

    /// Takes the node's place in its cluster, which exists or is founded; returns when the node owns its share. On a background thread.
    ///
    /// 1. A node that is a member gossips again; it tells where it is reached now, when that has changed.
    /// 2. A node that is none asks the seeds. It is let in, gets its tokens, and all writes for them go to it as well from then on.
    /// 3. What it is to own is copied, then it is a member like the others.
    func start() throws(NodeError) {
        let generation = try nextGeneration()
        if let known = metadata.current {
            guard let own = known.member(hostID), own.node.state != .left else {
                throw .identity(
                    "node \(hostID) was removed from the cluster \"\(configuration.clusterName)\"; to join again it needs an empty data directory"
                )
            }
            try takePlace(own, generation)
        } else {
            try join(generation)
        }
        hints.start()
        batches.start(self)
    }

    private func takePlace(_ own: ClusterMetadata.Member, _ generation: Int64) throws(NodeError) {
        let isAlone = metadata.current?.members.count == 1
        if !isAlone && own.node.endpoint != endpoint { try checkNobodyElse(at: own.node.endpoint) }
        placeFirstView()
        startGossip(generation: generation, status: own.node.state == .normal ? .normal : .joining)
        if !isAlone { meetOthers() }
        let nativePort = nativePort.load(ordering: .relaxed)
        if own.node.endpoint != endpoint || own.nativePort != nativePort {
            let moved = MemberChange.move(hostID, endpoint, nativePort: nativePort)
            do throws(ServerError) { try change(moved) } catch {
                // The others reach it by what gossip says until a majority lives.
                tell("the new address \(endpoint) is not in the members' list yet: \(error.message)")
            }
        }
        switch own.node.state {
        case .joining, .replacing: try finishJoining()
        case .leaving: tell("this node was leaving when it was stopped; run auspex admin decommission again, or it stays", level: .warning)
        case .normal, .left, .moving: break
        }
        if let metadata = metadata.current, let schema = queries?.schema { describe(metadata, schema: schema) }
    }

    /// A node that is reached elsewhere now must be the same node: none may answer where it was.
    private func checkNobodyElse(at former: Endpoint) throws(NodeError) {
        if case .failed(.unknown, let why) = ask(.metadata(.fetch(after: 0)), at: former, wanted: nil, timeout: 3_000_000) {
            throw .identity("\(former) does not let this node in: \(why)")
        }
    }

    /// Waits until the other members that live are known to, so that the first requests are not refused; a second and a half at most.
    private func meetOthers() {
        for _ in 0..<15 {
            let dead = view?.isAlive.contains(false) ?? false
            if !dead { return }
            background.sleep(nanoseconds: 100_000_000)
        }
    }

    // MARK: Joining

    private func join(_ generation: Int64) throws(NodeError) {
        let answer: ShadowAnswer
        switch try meetSeeds() {
        case .founded:
            do { try metadata.begin(try ClusterService.founding(configuration, hostID: hostID, seed: seed)) } catch let error as NodeError {
                throw error
            } catch { throw .identity("the cluster's metadata cannot be kept: \(error)") }
            guard let own = metadata.current?.member(hostID) else { throw .identity("this node is not in the cluster it founded") }
            return try takePlace(own, generation)
        case .failed(let failure): throw .identity(failure.description)
        case .met(let met): answer = met
        }
        if let other = answer.sameHostID {
            throw .identity(
                "\(other) has the host id \(hostID) of this node. Was a data directory copied? Give the newcomer an empty one")
        }
        let contacts = answer.states.filter { entry in
            if case .normal = entry.state.status { return entry.endpoint != endpoint }
            return false
        }.map(\.endpoint)
        guard !contacts.isEmpty else { throw .identity("no member of the cluster answers; start one of them first") }
        try enter(contacts)
        let known = max(generation, (answer.ownGeneration ?? 0) + 1)
        let used = known > generation ? try nextGeneration(above: known - 1) : generation
        startGossip(generation: used, status: .joining, knowing: answer.states)
        meetOthers()
        try finishJoining()
    }

    /// Asks the seeds what they know, saying nothing of this node.
    private func meetSeeds() throws(NodeError) -> ShadowOutcome {
        let round = ShadowRound(
            configuration: GossipConfiguration(
                clusterName: configuration.clusterName, endpoint: endpoint, hostID: hostID, seeds: configuration.seedEndpoints))
        shadow.withLock { $0 = round }
        defer { shadow.withLock { $0 = nil } }
        var count = 0
        while !hasStopped {
            perform(shadow.withLock { $0?.tick(now: now) ?? [] })
            // An answer is looked for more often than the question is asked.
            for _ in 0..<20 {
                if let outcome = shadow.withLock({ $0?.outcome }) { return outcome }
                if let why = seedRefusal.withLock({ $0 }) { throw .identity(why) }
                background.sleep(nanoseconds: 50_000_000)
            }
            count += 1
            if count == 3 { log.info("waiting for the seeds \(configuration.seeds)") }
        }
        throw .identity("the node was stopped while it joined")
    }

    /// Has a member let this node in.
    private func enter(_ contacts: [Endpoint]) throws(NodeError) {
        let node = RingNode(
            id: hostID, endpoint: endpoint, location: Location(dataCenter: configuration.dataCenter, rack: configuration.rack), claims: [],
            state: .joining)
        let member = ClusterMetadata.Member(node: node, nativePort: nativePort.load(ordering: .relaxed))
        var change = MemberChange.join(member)
        if let dead = UUID(configuration.replaceNode) { change = .replace(member, dead: dead) }
        let bytes = change.encode()
        var last = ""
        for attempt in 0..<600 where !hasStopped {
            let contact = contacts[attempt % contacts.count]
            switch ask(.metadata(.change(bytes)), at: contact, wanted: nil, timeout: ClusterService.changeTimeout + 2_000_000) {
            case .metadata(.current(_, let value)):
                guard let let_in = ClusterMetadata.readable(value), let_in.member(hostID) != nil else {
                    throw .identity("\(contact) let this node in and does not know it")
                }
                do { try metadata.begin(let_in) } catch { throw .identity("the cluster's metadata cannot be kept: \(error)") }
                return
            case .failed(let reason, let text):
                if last != text { log.info("\(contact): \(text)") }
                last = text
                // What is against it now, such as another node that joins, may be over soon.
                guard reason == .overloaded || reason == .connectionLost else {
                    throw .identity("\(contact) does not let this node in: \(text)")
                }
            case let other: last = "\(contact) answered \(other)"
            }
            background.sleep(nanoseconds: 1_000_000_000)
        }
        throw .identity("no member lets this node in: \(last)")
    }

    /// Copies what this node is to own, and has it made a member.
    private func finishJoining() throws(NodeError) {
        log.info("joining the cluster \"\(configuration.clusterName)\"")
        do throws(ServerError) {
            try settleMembers()
            if !PlantedBugs.isOn(.joinsWithoutCopy) { try move(for: hostID) }
            var attempt = 0
            while true {
                do throws(ServerError) {
                    try finish(hostID)
                    break
                } catch {
                    attempt += 1
                    guard attempt < 30, !hasStopped else { throw error }
                    background.sleep(nanoseconds: 1_000_000_000)
                }
            }
        } catch { throw .identity("this node could not join: \(error.message); start it again to go on") }
        say(.normal)
        log.info("joined the cluster \"\(configuration.clusterName)\"")
    }
}
