import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

/// Takes the node's place in its cluster when it starts.
///
/// 1. A node that is a member gossips again, and tells the members where it is reached when that has changed.
/// 2. A node that is none asks the seeds. Where they found a new cluster together with this node, it begins one.
///    Otherwise a member lets it in: it gets its tokens, and all writes for them go to it as well from then on.
/// 3. What it is to own is copied to it; then it is a member like the others.
///
/// **Thread safety**: one background thread, which it blocks.
struct Joining: Sendable {
    let configuration: NodeConfiguration
    let local: LocalNode
    let metadata: MetadataStore
    let queries: QueryEngine
    let systemPeers: SystemPeers
    let views: ClusterViews
    let gossip: GossipDriver
    let generations: GenerationFile
    let policy: PeerPolicy
    let peers: PeerClient
    let ring: RingChanges
    let moves: RangeMoves
    let background: any Background
    let log: OperatorLog
    let stop: StopSignal
    let seed: UInt64

    /// Takes the node's place in its cluster; returns when the node owns its share.
    func run() throws(NodeError) {
        let generation = try generations.next()
        if let known = metadata.current {
            guard let own = known.member(local.hostID), own.node.state != .left else {
                throw .identity(
                    "node \(local.hostID) was removed from the cluster \"\(configuration.clusterName)\"; to join again "
                        + "it needs an empty data directory")
            }
            try takePlace(own, generation)
        } else {
            try join(generation)
        }
    }

    // MARK: A node that is a member

    private func takePlace(_ own: ClusterMetadata.Member, _ generation: Int64) throws(NodeError) {
        let isAlone = metadata.current?.members.count == 1
        if !isAlone && own.node.endpoint != local.endpoint { try checkNobodyElse(at: own.node.endpoint) }
        views.placeFirst(queries.schema)
        gossip.start(generation: generation, status: own.node.state == .normal ? .normal : .joining)
        if !isAlone { waitForOthers() }
        let nativePort = local.nativePort.load(ordering: .relaxed)
        if own.node.endpoint != local.endpoint || own.nativePort != nativePort {
            let endpoint = local.endpoint
            do throws(ServerError) { try ring.make(.move(local.hostID, endpoint, nativePort: nativePort)) } catch {
                // Until a majority is alive, the others reach this node at the address that gossip tells them.
                log.report("the new address \(endpoint) is not in the list of members yet: \(error.message)")
            }
        }
        switch own.node.state {
        case .joining, .replacing: try finish()
        case .leaving:
            log.report("this node stopped while it was leaving; run auspex admin decommission again to finish")
        case .normal, .left: break
        }
        if let metadata = metadata.current { systemPeers.update(metadata, queries.schema) }
    }

    /// Checks that no other node answers where this node was reached before.
    private func checkNobodyElse(at former: Endpoint) throws(NodeError) {
        let reply = peers.ask(.metadata(.fetch(after: 0)), at: former, wanted: nil, timeout: 3_000_000)
        if case .failed(.unknown, let why) = reply {
            throw .identity("\(former) does not let this node in: \(why)")
        }
    }

    /// Waits until all other members count as alive, so that the first requests are not refused; 1.5 seconds at most.
    private func waitForOthers() {
        for _ in 0..<15 {
            let dead = views.current?.isAlive.contains(false) ?? false
            if !dead { return }
            background.sleep(nanoseconds: 100_000_000)
        }
    }

    // MARK: A node that is none

    private func join(_ generation: Int64) throws(NodeError) {
        let answer: ShadowAnswer
        switch try askSeeds() {
        case .founded: return try takePlace(try found(), generation)
        case .failed(let failure): throw .identity(failure.description)
        case .met(let met): answer = met
        }
        if let other = answer.sameHostID {
            throw .identity(
                "\(other) has the host id \(local.hostID) of this node. Was a data directory copied? Give the newcomer "
                    + "an empty one")
        }
        let contacts = answer.states.filter { entry in
            if case .normal = entry.state.status { return entry.endpoint != local.endpoint }
            return false
        }.map(\.endpoint)
        guard !contacts.isEmpty else {
            throw .identity("no member of the cluster answers; start one of them first")
        }
        try enter(contacts)
        // What a seed tells may be any number; nodes do not believe one far ahead of their clocks.
        let told = answer.ownGeneration.flatMap { $0 < Int64.max >> 1 ? $0 : nil } ?? 0
        let known = max(generation, told + 1)
        let used = known > generation ? try generations.next(above: known - 1) : generation
        gossip.start(generation: used, status: .joining, knowing: answer.states)
        waitForOthers()
        try finish()
    }

    /// Asks the seeds what they know, saying nothing of this node, until they answer.
    private func askSeeds() throws(NodeError) -> ShadowOutcome {
        gossip.beginShadowRound()
        defer { gossip.endShadowRound() }
        var count = 0
        while !stop.isSet {
            gossip.askSeeds()
            // The seeds are asked once a second, and their answer is looked for every 50 ms.
            for _ in 0..<20 {
                if let outcome = gossip.shadowOutcome { return outcome }
                if let why = policy.refusal { throw .identity(why) }
                background.sleep(nanoseconds: 50_000_000)
            }
            count += 1
            if count == 3 { log.info("waiting for the seeds \(configuration.seeds)") }
        }
        throw .identity("the node was stopped while it joined")
    }

    /// Begins a cluster of this node.
    private func found() throws(NodeError) -> ClusterMetadata.Member {
        let founded = try ClusterMetadata.founding(configuration, hostID: local.hostID, seed: seed)
        do { try metadata.begin(founded) } catch {
            throw .identity("the cluster's metadata cannot be written: \(error)")
        }
        guard let own = metadata.current?.member(local.hostID) else {
            throw .identity("this node is not in the cluster it founded")
        }
        return own
    }

    /// Has a member let this node in; asks one after another, for ten minutes.
    private func enter(_ contacts: [Endpoint]) throws(NodeError) {
        let node = RingNode(
            id: local.hostID, endpoint: local.endpoint, location: local.location, claims: [], state: .joining)
        let member = ClusterMetadata.Member(node: node, nativePort: local.nativePort.load(ordering: .relaxed))
        var change = MemberChange.join(member)
        if let dead = UUID(configuration.replaceNode) { change = .replace(member, dead: dead) }
        let bytes = change.encode()
        var last = ""
        for attempt in 0..<600 where !stop.isSet {
            let contact = contacts[attempt % contacts.count]
            let reply = peers.ask(
                .metadata(.change(bytes)), at: contact, wanted: nil, timeout: MetadataChanges.timeout + 2_000_000)
            switch reply {
            case .metadata(.current(_, let value)):
                guard let entered = ClusterMetadata.readable(value), entered.member(local.hostID) != nil else {
                    throw .identity("\(contact) let this node in but does not list it as a member")
                }
                do { try metadata.begin(entered) } catch {
                    throw .identity("the cluster's metadata cannot be written: \(error)")
                }
                return
            case .failed(let reason, let text):
                if last != text { log.info("\(contact): \(text)") }
                last = text
                // What prevents it now, such as another node that joins, may be over soon.
                guard reason == .overloaded || reason == .connectionLost else {
                    throw .identity("\(contact) does not let this node in: \(text)")
                }
            case let other: last = "\(contact) answered \(other)"
            }
            background.sleep(nanoseconds: 1_000_000_000)
        }
        throw .identity("no member lets this node in: \(last)")
    }

    // MARK: Both

    /// Copies what this node is to own, and makes it an owner.
    private func finish() throws(NodeError) {
        log.info("joining the cluster \"\(configuration.clusterName)\"")
        do throws(ServerError) {
            try ring.waitUntilKnown()
            if !PlantedBugs.isOn(.joinsWithoutCopy) { try moves.move(for: local.hostID) }
            var attempt = 0
            while true {
                do throws(ServerError) {
                    try ring.finish(local.hostID)
                    break
                } catch {
                    attempt += 1
                    guard attempt < 30, !stop.isSet else { throw error }
                    background.sleep(nanoseconds: 1_000_000_000)
                }
            }
        } catch { throw .identity("this node could not join: \(error.message); start it again to go on") }
        gossip.announce(.normal)
        log.info("joined the cluster \"\(configuration.clusterName)\"")
    }
}
