import DataModel
import Messages
import NativeProtocol
import Platform
import Primitives
import Query
import Storage
import Synchronization

/// Counters of the node, for `/metrics` and `admin info`.
final class NodeCounters: Sendable {
    let connections = Atomic<Int>(0)
    let connectionsAccepted = Atomic<Int>(0)
    let connectionsRefused = Atomic<Int>(0)
    let protocolErrors = Atomic<Int>(0)
    let encryptionFailures = Atomic<Int>(0)
}

/// What the sessions of a node share.
final class NodeServices: Sendable {
    let configuration: NodeConfiguration
    let time: any TimeSource
    let storage: StorageEngine
    let runner: RequestRunner
    let events: EventHub
    let cluster: ClusterService
    private let acknowledgement: LogAcknowledgement
    private let serving = Atomic<Bool>(false)
    let counters = NodeCounters()
    /// Connections with their numbers, in the order they were accepted.
    private let clients = Mutex<[ObjectIdentifier: (number: Int, connection: any Connection)]>([:])
    private let draining = Atomic<Bool>(false)
    let startedNanoseconds: UInt64

    init(
        configuration: NodeConfiguration, time: any TimeSource, storage: StorageEngine, runner: RequestRunner, events: EventHub,
        cluster: ClusterService, acknowledgement: LogAcknowledgement
    ) {
        self.cluster = cluster
        self.acknowledgement = acknowledgement
        self.configuration = configuration
        self.time = time
        self.storage = storage
        self.runner = runner
        self.events = events
        startedNanoseconds = time.monotonicNanoseconds()
    }

    /// What a request reads and writes through; nil when this node is alone. On the loop.
    @inline(__always) func port(_ options: Query.QueryOptions, loop: Int) -> (any ReplicaPort)? { cluster.ports.port(options, loop: loop) }

    /// Hands the log to the kernel for a request that has written here and then waited: the end of the tick in which it wrote may have failed to.
    /// - Throws: what the client is told when the log takes no writes.
    @inline(__always) func makeSafe(_ context: RequestContext, _ options: Query.QueryOptions) throws(ServerError) {
        guard context.hasWritten, let fiber = Fiber.current, fiber.hasWaited, options.port == nil else { return }
        if let failure = acknowledgement.flush() { throw RequestRunner.notLogged(failure) }
    }

    /// Whether the node has its place in the cluster: before that, clients' connections are closed.
    var isServing: Bool { serving.load(ordering: .acquiring) }

    func beginServing() { serving.store(true, ordering: .releasing) }

    /// Whether the node is about to end: new requests are refused.
    var isDraining: Bool { draining.load(ordering: .relaxed) || cluster.local.hasLeft }

    func beginDraining() { draining.store(true, ordering: .sequentiallyConsistent) }

    /// What a request is told that comes too late; drivers try another node.
    static let drainingError = ServerError(.overloaded, "the server is shutting down; try another node, or again when it is back")

    /// Closes every client's connection when its answers have gone out.
    func closeConnections() {
        // In the order they came: the order of a table of addresses would differ from run to run.
        let clients = clients.withLock { $0.values.sorted { $0.number < $1.number } }
        for (_, connection) in clients { connection.onLoop { connection.closeAfterOutput() } }
    }

    /// A client's connection is not encrypted as it should be: counts it, and says so once a minute for each machine.
    func encryptionFailed(_ connection: any Connection, _ why: String) {
        counters.encryptionFailures.add(1, ordering: .relaxed)
        let machine = connection.peer.lastIndex(of: ":").map { String(connection.peer[..<$0]) } ?? connection.peer
        cluster.log.report("client at \(machine): \(why)")
    }

    /// What a client is told whose bytes are plain.
    static let plainError = ServerError(
        .protocolError, "this port takes only TLS connections, and this one is plain; connect with TLS (cqlsh --ssl, auspex shell --ssl)")
    static let plainSeen =
        "it speaks plain where TLS is needed; turn TLS on there, or take both here with optional: true in client_encryption_options"
    static let secureSeen =
        "it speaks TLS, and this port is plain; turn TLS off there, or on here with enabled: true and certificates in client_encryption_options"

    var hasConnections: Bool { clients.withLock { !$0.isEmpty } }

    /// Counts a new connection; false when there are as many as may be.
    func connectionOpened(_ connection: any Connection) -> Bool {
        let number = counters.connectionsAccepted.add(1, ordering: .relaxed).newValue
        clients.withLock { $0[ObjectIdentifier(connection)] = (number, connection) }
        let now = counters.connections.add(1, ordering: .relaxed).newValue
        if now <= configuration.nativeTransportMaxConcurrentConnections { return true }
        counters.connectionsRefused.add(1, ordering: .relaxed)
        return false
    }

    func connectionClosed(_ connection: any Connection) {
        _ = clients.withLock { $0.removeValue(forKey: ObjectIdentifier(connection)) }
        counters.connections.subtract(1, ordering: .relaxed)
    }
}

/// The sessions that want to hear of events.
///
/// **Thread safety**: all methods, from any thread.
final class EventHub: Sendable {
    private struct State {
        var sessions: [Int: NativeSession] = [:]
        var nextID = 1
    }
    private let state = Mutex(State())

    func register(_ session: NativeSession) -> Int {
        state.withLock { state in
            defer { state.nextID += 1 }
            state.sessions[state.nextID] = session
            return state.nextID
        }
    }

    func remove(_ id: Int) { state.withLock { _ = $0.sessions.removeValue(forKey: id) } }

    func announce(_ event: ServerEvent) {
        for session in state.withLock({ Array($0.sessions.values) }) { session.push(event) }
    }
}
