import Cluster
import Messages
import Platform
import Primitives
import Synchronization

/// Serves other nodes: lets them in, has their requests executed, and keeps their connections.
///
/// **Thread safety**: all methods, from any thread.
final class PeerServer: PeerHost {
    private let local: LocalNode
    private let metadata: MetadataStore
    private let policy: PeerPolicy
    private let gossip: GossipDriver
    private let fetcher: MetadataFetcher
    private let drivers: [LoopDriver]
    private let log: OperatorLog
    private let clusterName: String
    /// Other nodes' connections with their numbers, in the order they were accepted.
    private let connections = Mutex<[ObjectIdentifier: (number: Int, connection: any Connection)]>([:])
    private let connectionCount = Atomic<Int>(0)

    init(
        configuration: NodeConfiguration, local: LocalNode, metadata: MetadataStore, policy: PeerPolicy,
        gossip: GossipDriver, fetcher: MetadataFetcher, drivers: [LoopDriver], log: OperatorLog
    ) {
        self.local = local
        self.metadata = metadata
        self.policy = policy
        self.gossip = gossip
        self.fetcher = fetcher
        self.drivers = drivers
        self.log = log
        clusterName = configuration.clusterName
    }

    var hostID: UUID { local.hostID }

    // MARK: Connections

    /// Makes the session of a connection that was accepted.
    func accept(_ connection: any Connection) -> PeerSession {
        let number = connectionCount.add(1, ordering: .relaxed).newValue
        connections.withLock { $0[ObjectIdentifier(connection)] = (number, connection) }
        return PeerSession(connection: connection, host: self)
    }

    /// Closes all connections that other nodes have opened.
    func closeConnections() {
        // In the order they came: the order of a dictionary keyed by addresses would differ from run to run.
        let connections = connections.withLock { $0.values.sorted { $0.number < $1.number } }
        for (_, connection) in connections { connection.onLoop { connection.closeAfterOutput() } }
    }

    func peerConnectionClosed(_ connection: any Connection) {
        _ = connections.withLock { $0.removeValue(forKey: ObjectIdentifier(connection)) }
    }

    func peerRefused(_ peer: String, _ why: String) {
        policy.counters.connectionsRefused.add(1, ordering: .relaxed)
        log.report("refused \(peer): \(why)")
    }

    func compresses(_ other: Endpoint) -> Bool { policy.compresses(other) }

    func welcome(_ hello: PeerHello) throws(PeerError) {
        guard hello.clusterName == clusterName else {
            throw .refused(
                "this node belongs to cluster '\(clusterName)', the other to '\(hello.clusterName)'; check "
                    + "cluster_name and seeds of both")
        }
        if let wanted = hello.wanted, wanted != hostID { throw .refused("this is node \(hostID), not \(wanted)") }
        let endpoint = local.endpoint
        guard hello.hostID != hostID || hello.endpoint == endpoint else {
            throw .refused(
                "\(hello.endpoint) has the host id \(hostID) of this node at \(endpoint). Was a data directory copied? "
                    + "Give the newcomer an empty one")
        }
    }

    // MARK: Requests

    func writeAtOnce(
        _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, loop: Int, for session: PeerSession, token: UInt64
    ) -> Bool {
        // `execute` deals with senders that know other members or a newer version.
        guard epoch >= metadata.ringEpoch, epoch <= metadata.epoch else { return false }
        let driver = drivers[loop]
        guard driver.writeAtOnce(request, for: session, token: token) else { return false }
        driver.executedForOthers.add(1)
        return true
    }

    func execute(
        _ request: PeerRequest, from peer: PeerHello, epoch: UInt64, timeout: Int64, loop: Int,
        _ done: @escaping @Sendable (PeerReply) -> Void
    ) {
        drivers[loop].executedForOthers.add(1)
        if epoch > metadata.epoch { fetcher.fetchSoon(from: peer.endpoint) }
        switch request {
        case .gossip(let bytes):
            gossip.receive(bytes, from: peer.endpoint)
            return done(.done)
        case .metadata: break
        default:
            // A coordinator that does not know the present members would ask, and count, the wrong replicas.
            // `LoopDriver.perform` does the same for this node's own requests.
            if epoch < metadata.ringEpoch {
                policy.counters.staleRequests.add(1, ordering: .relaxed)
                return done(
                    .failed(
                        .ringChanged, "the members have changed; the coordinator knows version \(epoch) of them"))
            }
        }
        drivers[loop].execute(request, done)
    }
}
