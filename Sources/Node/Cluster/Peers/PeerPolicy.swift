import Cluster
import Messages
import Platform
import Primitives
import Synchronization

/// How connections between this node and others are opened: what it says of itself, compression, encryption.
///
/// **Thread safety**: all methods, from any thread.
final class PeerPolicy: Sendable {
    let local: LocalNode
    let counters: ClusterCounters
    private let configuration: NodeConfiguration
    private let metadata: MetadataStore
    private let log: OperatorLog
    private let firstRefusal = Mutex<String?>(nil)

    init(
        configuration: NodeConfiguration, local: LocalNode, metadata: MetadataStore, log: OperatorLog, loops: Int
    ) {
        counters = ClusterCounters(loops: loops)
        self.configuration = configuration
        self.local = local
        self.metadata = metadata
        self.log = log
    }

    /// Why a node refused this one, the first time one did; a node that joins gives up then.
    var refusal: String? { firstRefusal.withLock { $0 } }

    /// Whether frames to and from a node are compressed.
    func compresses(_ other: Endpoint) -> Bool {
        switch configuration.internodeCompression {
        case "all": return true
        case "dc":
            guard let member = metadata.current?.member(at: other) else { return false }
            return member.node.location.dataCenter != configuration.dataCenter
        default: return false
        }
    }

    /// How a connection to a node is encrypted.
    func encryption(_ other: Endpoint) -> Encryption {
        configuration.serverEncryption.encrypts(
            to: { metadata.current?.member(at: other)?.node.location }, from: local.location)
            ? .required(.nodes) : .none
    }

    /// Takes note that a node refused this one, or that no encrypted connection to it can be opened.
    func noteRefusal(by endpoint: Endpoint, _ why: PeerError) {
        // Certificates can be put right while this node goes on trying.
        if case .encryption(let reason) = why {
            return log.report("no TLS connection to \(endpoint): \(reason)", level: .error)
        }
        let text = "\(endpoint) refused this node: \(why)"
        firstRefusal.withLock { if $0 == nil { $0 = text } }
        log.report(text, level: .error)
    }
}

/// Counters of what passes between nodes, for metrics.
final class ClusterCounters: Sendable {
    let requestsSent: LoopCounter
    let requestsExecuted: LoopCounter
    let staleRequests = Atomic<Int>(0)
    /// Steps of requests that were begun again because the members had changed.
    let stepsRestarted = Atomic<Int>(0)
    let bytesSent: LoopCounter
    let connectionsRefused = Atomic<Int>(0)

    init(loops: Int) {
        requestsSent = LoopCounter(loops: loops)
        requestsExecuted = LoopCounter(loops: loops)
        bytesSent = LoopCounter(loops: loops)
    }
}

extension ClusterMetadata {
    /// The first member at an address; two share one while a node takes another's place.
    func member(at endpoint: Endpoint) -> Member? { members.first { $0.node.endpoint == endpoint } }
}

extension MetadataStore {
    /// The address of a member; nil when the newest version known has no such member.
    func endpoint(of node: UUID) -> Endpoint? { current?.member(node)?.node.endpoint }
}
