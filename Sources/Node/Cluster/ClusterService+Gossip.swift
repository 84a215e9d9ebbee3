import Cluster
import DataModel
import Messages
import Platform
import Primitives
import Query
import Synchronization

extension ClusterService {
    static let generationFile = "generation"

    /// A generation greater than any this node has used; kept before it is used.
    func nextGeneration(above known: Int64 = 0) throws(NodeError) -> Int64 {
        let directory = configuration.dataDirectory
        let path = directory + "/" + ClusterService.generationFile
        do throws(FileError) {
            var last = known
            // A file that does not parse is as good as none: what the others remember raises the generation all the same (`superseded`).
            if system.exists(path), let number = Int64(String(decoding: try system.readAll(path), as: UTF8.self).prefix { !$0.isNewline }) {
                last = max(last, number)
            }
            if PlantedBugs.isOn(.generationNotRaised) && last > known { return last }
            let next = max(last + 1, time.wallMicroseconds() / 1_000_000)
            try system.replace(path, with: Array("\(next)\n".utf8), directory: directory)
            return next
        } catch { throw .file(error) }
    }

    /// Begins to gossip.
    func startGossip(generation: Int64, status: GossipStatus, knowing states: [GossipEntry] = []) {
        var options = GossipConfiguration(
            clusterName: configuration.clusterName, endpoint: endpoint, hostID: hostID, seeds: gossipSeeds)
        options.failure.threshold = configuration.phiConvictThreshold
        var gossiper = Gossiper(configuration: options, generation: generation, seed: seed ^ 0x6055)
        gossiper.setLocal(.dataCenter, configuration.dataCenter)
        gossiper.setLocal(.rack, configuration.rack)
        gossiper.setLocal(.releaseVersion, NodeInfo.releaseVersion)
        gossiper.setLocal(.nativeAddress, configuration.listenAddress)
        gossiper.setLocal(.nativePort, "\(nativePort.load(ordering: .relaxed))")
        gossiper.setLocal(.metadataEpoch, "\(metadata.epoch)")
        if let schema = queries?.schema { gossiper.setLocal(.schema, schema.version.description) }
        gossiper.setLocal(status: status)
        let effects = gossip.withLock { held in
            let effects = gossiper.adopt(states, now: now, wall: time.wallMicroseconds())
            held = gossiper
            return effects
        }
        perform(effects)
        tick(round: 0)
    }

    /// Nodes that are gossiped with even when nobody is known: the seeds, and the members, which are known since the last run.
    private var gossipSeeds: [Endpoint] {
        configuration.seedEndpoints + (metadata.current?.members.map(\.node.endpoint) ?? [])
    }

    /// One round, and the next a second later; the first few follow each other faster, so that a node that starts soon knows who lives.
    private func tick(round: Int) {
        if hasStopped { return }
        perform(gossip.withLock { $0?.tick(now: now, wall: time.wallMicroseconds()) ?? [] })
        if round % 10 == 9 { catchUp() }
        if round % 30 == 29 { settleLater() }
        if round % 60 == 10 {
            let bytes = load
            gossip.withLock { $0?.setLocal(.load, "\(bytes)") }
        }
        let wait: UInt64 = round < 10 ? 100_000_000 : UInt64(GossipConfiguration.interval) * 1000
        network.schedule(loop: 0, nanoseconds: wait) { [weak self] in self?.tick(round: round + 1) }
    }

    /// A gossip message of another node; on any loop.
    func received(_ bytes: [UInt8], from sender: Endpoint) {
        if hasStopped { return }
        let message: GossipMessage
        do throws(GossipError) { message = try GossipMessage(decoding: bytes) } catch {
            return tell("gossip of \(sender) does not parse: \(error)")
        }
        let answers = shadow.withLock { $0?.receive(message, from: sender, now: now) }
        if let answers { return perform(answers) }
        perform(gossip.withLock { $0?.receive(message, from: sender, now: now, wall: time.wallMicroseconds()) ?? [] })
    }

    func perform(_ effects: [GossipEffect]) {
        var livesChanged = false
        for effect in effects {
            switch effect {
            case .send(let message, let endpoint):
                var out = ByteWriter(capacity: 1024)
                message.encode(to: &out)
                let bytes = out.toArray()
                network.onLoop(0) { [self] in
                    drivers[0].ask(.gossip(bytes), at: endpoint, wanted: nil, timeout: GossipConfiguration.interval) { _ in }
                }
            case .event(let event): livesChanged = note(event) || livesChanged
            }
        }
        if livesChanged {
            refreshView()
            if let metadata = metadata.current, let schema = queries?.schema { describe(metadata, schema: schema) }
        }
    }

    /// - Returns: whether views are to be made anew.
    private func note(_ event: GossipEvent) -> Bool {
        switch event {
        case .nodeUp(let endpoint):
            log.info("\(endpoint) is up")
            if let member = member(at: endpoint) {
                downSince.withLock { $0[member.node.id] = nil }
                forgetSpeed(of: member.node.id)
                if let client = ClusterService.client(member) { events.announce(.status(.up, client)) }
                hints.isUp(member.node.id)
            }
            return true
        case .nodeDown(let endpoint, let reason):
            log.info("\(endpoint) is down: \(ClusterService.text(reason))")
            if let member = member(at: endpoint) {
                downSince.withLock { $0[member.node.id] = time.wallSeconds() }
                if let client = ClusterService.client(member) { events.announce(.status(.down, client)) }
                hints.isDown(member.node.id)
            }
            for driver in drivers { network.onLoop(driver.loop) { driver.links.close(endpoint) } }
            return true
        case .stateChanged(let endpoint, let value):
            if value.key == .metadataEpoch, let epoch = UInt64(value.text), epoch > metadata.epoch { fetchSoon(from: endpoint) }
            return value.key == .schema
        case .refused(let refusal):
            tell(refusal.description, level: .error)
            return false
        case .superseded(let generation, let status):
            if status?.isGone ?? false { tell("the cluster has removed this node", level: .error) }
            background.run(.control) { [self] in
                do {
                    let next = try nextGeneration(above: generation)
                    gossip.withLock { $0?.raiseGeneration(to: next) }
                } catch { tell("a greater generation cannot be kept: \(error)", level: .error) }
            }
            return false
        case .addressChanged(let id, let from, let to):
            log.info("\(id) is reached at \(to) now, not at \(from)")
            return true
        case .pausedLocally(let microseconds):
            tell("this process did not run for \(microseconds / 1000) ms; nobody is judged for a while")
            return false
        case .joined, .nodeRestarted, .left, .removed: return true
        }
    }

    private static func text(_ reason: DownReason) -> String {
        switch reason {
        case .convicted(let why): why.description
        case .shutdown: "it was stopped"
        case .gone: "it has left"
        case .refused: "its identity is another's"
        }
    }

    private func member(at endpoint: Endpoint) -> ClusterMetadata.Member? {
        let members = metadata.current?.members.filter { $0.node.endpoint == endpoint } ?? []
        guard members.count > 1 else { return members.first }
        // One takes the place of the other.
        let id = gossip.withLock { $0?.state(of: endpoint)?.hostID }
        return members.first { $0.node.id == id }
    }

    /// Says to all at once what version of the metadata this node has now.
    func announceState(_ schema: Schema) {
        let epoch = metadata.epoch
        perform(
            gossip.withLock { gossiper in
                guard gossiper != nil else { return [] }
                gossiper?.setLocal(.metadataEpoch, "\(epoch)")
                gossiper?.setLocal(.schema, schema.version.description)
                return gossiper?.announce() ?? []
            })
    }

    func say(_ status: GossipStatus) {
        perform(
            gossip.withLock { gossiper in
                gossiper?.setLocal(status: status)
                return gossiper?.announce() ?? []
            })
    }

    // MARK: Newer versions

    /// Fetches newer metadata on a background thread, once at a time.
    /// - Parameter endpoint: who has it; nil: whoever lives is asked.
    func fetchSoon(from endpoint: Endpoint?) {
        guard !hasStopped, !isFetching.exchange(true, ordering: .acquiringAndReleasing) else { return }
        background.run(.control) { [self] in
            defer { isFetching.store(false, ordering: .releasing) }
            let candidates = endpoint.map { [$0] } ?? gossip.withLock { $0?.liveEndpoints ?? [] }
            for candidate in candidates {
                if fetch(from: candidate) { return }
            }
        }
    }

    /// - Returns: whether a newer version was taken.
    @discardableResult func fetch(from endpoint: Endpoint) -> Bool {
        let reply = ask(.metadata(.fetch(after: metadata.epoch)), at: endpoint, wanted: nil, timeout: 5_000_000)
        guard case .metadata(.current(let epoch, let value)) = reply, epoch > metadata.epoch else { return false }
        do {
            try metadata.install(value)
            return true
        } catch {
            tell("version \(epoch) of the metadata cannot be taken: \(error)", level: .error)
            return false
        }
    }

    /// Looks whether somebody has said that he knows a newer version than this node could get until now.
    private func catchUp() {
        let newest: Endpoint? = gossip.withLock { gossiper in
            guard let gossiper else { return nil }
            return gossiper.liveEndpoints.first { endpoint in
                (gossiper.state(of: endpoint)?[.metadataEpoch].flatMap { UInt64($0.text) } ?? 0) > metadata.epoch
            }
        }
        if let newest { fetchSoon(from: newest) }
    }
}
