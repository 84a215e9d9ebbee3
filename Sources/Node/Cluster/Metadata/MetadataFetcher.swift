import Cluster
import Messages
import Platform
import Primitives
import Synchronization

/// Fetches newer versions of the metadata from other nodes, on background threads, once at a time.
///
/// **Thread safety**: all methods, from any thread.
final class MetadataFetcher: Sendable {
    private let metadata: MetadataStore
    private let liveness: Liveness
    private let peers: PeerClient
    private let background: any Background
    private let log: OperatorLog
    private let stop: StopSignal
    private let isFetching = Atomic<Bool>(false)

    init(
        metadata: MetadataStore, liveness: Liveness, peers: PeerClient, background: any Background, log: OperatorLog,
        stop: StopSignal
    ) {
        self.metadata = metadata
        self.liveness = liveness
        self.peers = peers
        self.background = background
        self.log = log
        self.stop = stop
    }

    /// Fetches the newer version that another node has, or that whichever live node answers has; returns at once.
    /// - Parameter endpoint: who has it; nil: every live node is asked until one answers with a newer version.
    func fetchSoon(from endpoint: Endpoint?) {
        guard !stop.isSet, !isFetching.exchange(true, ordering: .acquiringAndReleasing) else { return }
        background.run(.control) { [self] in
            defer { isFetching.store(false, ordering: .releasing) }
            let candidates = endpoint.map { [$0] } ?? liveness.liveEndpoints
            for candidate in candidates {
                if fetch(from: candidate) { return }
            }
        }
    }

    /// Fetches the newer version that a replica's refusal speaks of.
    func membersAreNewer() { fetchSoon(from: nil) }

    /// Fetches the newest version that a live node announces, when this node does not have it.
    func catchUp() {
        let newest: Endpoint? = liveness.gossiper.withLock { gossiper in
            guard let gossiper else { return nil }
            return gossiper.liveEndpoints.first { endpoint in
                let announced = gossiper.state(of: endpoint)?[.metadataEpoch].flatMap { UInt64($0.text) }
                return (announced ?? 0) > metadata.epoch
            }
        }
        if let newest { fetchSoon(from: newest) }
    }

    /// - Returns: whether a newer version was taken.
    private func fetch(from endpoint: Endpoint) -> Bool {
        let reply = peers.ask(
            .metadata(.fetch(after: metadata.epoch)), at: endpoint, wanted: nil, timeout: 5_000_000)
        guard case .metadata(.current(let epoch, let value)) = reply, epoch > metadata.epoch else { return false }
        do {
            try metadata.install(value)
            return true
        } catch {
            log.report("version \(epoch) of the metadata cannot be installed: \(error)", level: .error)
            return false
        }
    }
}
