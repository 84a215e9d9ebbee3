import Cluster
import DataModel
import Messages
import NativeProtocol
import Platform
import Primitives
import Query
import Synchronization

/// What the node does about the events of its gossiper: nodes that come up or go down, newer metadata, its own
/// identity.
///
/// **Thread safety**: all methods, from any thread.
struct GossipEvents: Sendable {
    let liveness: Liveness
    let metadata: MetadataStore
    let queries: QueryEngine
    let systemPeers: SystemPeers
    let views: ClusterViews
    let clients: EventHub
    let hints: HintHandoff
    let fetcher: MetadataFetcher
    let generations: GenerationFile
    let drivers: [LoopDriver]
    let network: any Network
    let background: any Background
    let time: any TimeSource
    let log: OperatorLog

    /// Handles one event.
    /// - Returns: whether `refreshViews` is to be called after the last of several events.
    func handle(_ event: GossipEvent) -> Bool {
        switch event {
        case .nodeUp(let endpoint):
            nodeUp(endpoint)
            return true
        case .nodeDown(let endpoint, let reason):
            nodeDown(endpoint, reason)
            return true
        case .stateChanged(let endpoint, let value):
            if value.key == .metadataEpoch, let epoch = UInt64(value.text), epoch > metadata.epoch {
                fetcher.fetchSoon(from: endpoint)
            }
            return value.key == .schema
        case .refused(let refusal):
            log.report(refusal.description, level: .error)
            return false
        case .superseded(let generation, let status):
            if status?.isGone ?? false { log.report("the cluster has removed this node", level: .error) }
            raiseGeneration(above: generation)
            return false
        case .addressChanged(let id, let from, let to):
            log.info("the address of node \(id) has changed from \(from) to \(to)")
            return true
        case .pausedLocally(let microseconds):
            log.report("this process did not run for \(microseconds / 1000) ms; no node is marked down for a while")
            return false
        case .joined, .nodeRestarted, .left, .removed: return true
        }
    }

    /// Brings the views of requests and the system tables up to what gossip knows now.
    func refreshViews() {
        views.refresh(queries.schema)
        if let metadata = metadata.current { systemPeers.update(metadata, queries.schema) }
    }

    private func nodeUp(_ endpoint: Endpoint) {
        log.info("\(endpoint) is up")
        guard let member = member(at: endpoint) else { return }
        liveness.setDownSince(member.node.id, nil)
        views.forgetLatencies(of: member.node.id)
        if let client = member.clientEndpoint { clients.announce(.status(.up, client)) }
        hints.sendSoon(to: member.node.id)
    }

    private func nodeDown(_ endpoint: Endpoint, _ reason: DownReason) {
        log.info("\(endpoint) is down: \(GossipEvents.text(reason))")
        if let member = member(at: endpoint) {
            liveness.setDownSince(member.node.id, time.wallSeconds())
            if let client = member.clientEndpoint { clients.announce(.status(.down, client)) }
            hints.nodeDown(member.node.id)
        }
        // Requests that wait for the node fail at once.
        for driver in drivers { network.onLoop(driver.loop) { driver.links.close(endpoint) } }
    }

    /// Gossips with a greater generation: others know of one that this node has forgotten.
    private func raiseGeneration(above generation: Int64) {
        background.run(.control) { [self] in
            do {
                let next = try generations.next(above: generation)
                liveness.gossiper.withLock { $0?.raiseGeneration(to: next) }
            } catch { log.report("a greater gossip generation cannot be saved: \(error)", level: .error) }
        }
    }

    private static func text(_ reason: DownReason) -> String {
        switch reason {
        case .convicted(let why): why.description
        case .shutdown: "it was stopped"
        case .gone: "it has left"
        case .refused: "another node has its identity"
        }
    }

    private func member(at endpoint: Endpoint) -> ClusterMetadata.Member? {
        let members = metadata.current?.members.filter { $0.node.endpoint == endpoint } ?? []
        guard members.count > 1 else { return members.first }
        // One takes the place of the other.
        let id = liveness.gossiper.withLock { $0?.state(of: endpoint)?.hostID }
        return members.first { $0.node.id == id }
    }
}
