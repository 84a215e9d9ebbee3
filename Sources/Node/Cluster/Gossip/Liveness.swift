import Cluster
import Messages
import Primitives
import Synchronization

/// Which nodes are alive: the gossiper with its lock.
///
/// **Thread safety**: all methods, from any thread. The lock is held for computation only.
final class Liveness: Sendable {
    /// Nil until the node gossips.
    let gossiper = Mutex<Gossiper?>(nil)
    private let downTimes = Mutex<[UUID: UInt32]>([:])
    private let metadata: MetadataStore

    init(metadata: MetadataStore) { self.metadata = metadata }

    /// Whether a member counts as alive.
    func isAlive(_ member: ClusterMetadata.Member) -> Bool { gossiper.withLock { $0?.isAlive(member) ?? false } }

    /// Whether the member with this host id counts as alive; false when there is none.
    func isAlive(_ id: UUID) -> Bool { metadata.current?.member(id).map(isAlive) ?? false }

    var liveEndpoints: [Endpoint] { gossiper.withLock { $0?.liveEndpoints ?? [] } }

    /// What a node says of itself.
    func value(of key: GossipKey, at endpoint: Endpoint) -> String? {
        gossiper.withLock { $0?.state(of: endpoint)?[key]?.text }
    }

    /// Since when a node is down, in seconds since 1970; nil when it is not known to be down.
    func downSince(_ node: UUID) -> UInt32? { downTimes.withLock { $0[node] } }

    func setDownSince(_ node: UUID, _ seconds: UInt32?) { downTimes.withLock { $0[node] = seconds } }
}

extension Gossiper {
    /// Whether a member counts as alive: its address may be that of the node which takes its place.
    func isAlive(_ member: ClusterMetadata.Member) -> Bool {
        isAlive(member.node.endpoint) && state(of: member.node.endpoint)?.hostID ?? member.node.id == member.node.id
    }
}
