import Cluster
import Messages
import Primitives
import Synchronization

/// This node as the others see it.
///
/// **Thread safety**: all members, from any thread.
final class LocalNode: Sendable {
    let hostID: UUID
    let location: Location
    private let clusterName: String
    private let reachedAt: Mutex<Endpoint>
    /// The port for clients; 0 before the node listens on it.
    let nativePort = Atomic<Int>(0)
    private let isOut = Atomic<Bool>(false)

    init(hostID: UUID, configuration: NodeConfiguration) {
        self.hostID = hostID
        clusterName = configuration.clusterName
        location = Location(dataCenter: configuration.dataCenter, rack: configuration.rack)
        reachedAt = Mutex(Endpoint(address: configuration.listenAddress, port: configuration.storagePort))
    }

    /// Where other nodes reach this one: the configured address and port until the node listens.
    var endpoint: Endpoint { reachedAt.withLock { $0 } }

    /// Other nodes reach this one at `endpoint` from now on.
    func listens(at endpoint: Endpoint) { reachedAt.withLock { $0 = endpoint } }

    /// Whether the node has left the cluster, or was removed: it serves nobody then.
    var hasLeft: Bool { isOut.load(ordering: .relaxed) }

    func setHasLeft(_ hasLeft: Bool) { isOut.store(hasLeft, ordering: .releasing) }

    /// The first frame of a connection to another node.
    var hello: PeerHello {
        PeerHello(clusterName: clusterName, hostID: hostID, endpoint: endpoint, wanted: nil)
    }
}
