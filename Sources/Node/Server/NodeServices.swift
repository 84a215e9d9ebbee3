import Coordinator
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

/// The services that a node's sessions share.
final class NodeServices: Sendable {
    let configuration: NodeConfiguration
    let time: any TimeSource
    let storage: StorageEngine
    let runner: RequestRunner
    let events: EventHub
    let cluster: ClusterService
    let acknowledgement: LogAcknowledgement
    private let serving = Atomic<Bool>(false)
    let counters = NodeCounters()
    /// Client connections with their numbers, which follow the order of acceptance.
    private let clients = Mutex<[ObjectIdentifier: (number: Int, connection: any Connection)]>([:])
    private let draining = Atomic<Bool>(false)
    let startedNanoseconds: UInt64

    init(
        configuration: NodeConfiguration, time: any TimeSource, storage: StorageEngine, runner: RequestRunner,
        events: EventHub,
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

    /// The port for a request's reads and writes; nil when this node is alone. Call it on the loop.
    @inline(__always) func port(
        _ options: Query.QueryOptions, loop: Int, context: RequestContext
    ) -> (any ReplicaPort)? {
        cluster.ports.port(options, loop: loop, context: context)
    }

    /// Checks the commit log for a request that has waited: the end of the turn in which it wrote or read is over. A
    /// request that wrote locally may have been in a turn whose flush failed. One during which the log began to refuse
    /// writes may have read refused rows before they were known (`UnloggedRows`).
    /// - Parameter failures: `acknowledgement.failures` when the request began.
    /// - Throws: the client's error when the log cannot be flushed now either.
    @inline(__always) func checkLogAfterWait(
        _ context: RequestContext, _ options: Query.QueryOptions, _ failures: UInt64
    ) throws(ServerError) {
        let hasWritten = context.hasWritten && options.port == nil
        guard hasWritten || failures != acknowledgement.failures, let fiber = Fiber.current, fiber.hasWaited,
            let failure = acknowledgement.flush()
        else { return }
        if hasWritten { throw RequestRunner.notLogged(failure) }
        throw ServerError(.serverError, "the commit log failed while the request was under way: \(failure)")
    }

    /// Whether the node has its place in the cluster. Before that, client connections are closed.
    var isServing: Bool { serving.load(ordering: .acquiring) }

    func beginServing() { serving.store(true, ordering: .releasing) }

    /// Whether the node is shutting down: new requests are refused.
    var isDraining: Bool { draining.load(ordering: .relaxed) || cluster.local.hasLeft }

    func beginDraining() { draining.store(true, ordering: .sequentiallyConsistent) }

    /// The error for requests that arrive during shutdown; drivers then try another node.
    static let drainingError = ServerError(
        .overloaded, "the server is shutting down; try another node, or again when it is back")

    /// Closes every client connection after its output has been sent.
    func closeConnections() {
        // In order of acceptance: the order of a hash table would differ from run to run.
        let clients = clients.withLock { $0.values.sorted { $0.number < $1.number } }
        for (_, connection) in clients { connection.onLoop { connection.closeAfterOutput() } }
    }

    /// Counts a client connection that is not encrypted as required, and logs it at most once a minute per machine.
    func encryptionFailed(_ connection: any Connection, _ why: String) {
        counters.encryptionFailures.add(1, ordering: .relaxed)
        let machine = connection.peer.lastIndex(of: ":").map { String(connection.peer[..<$0]) } ?? connection.peer
        cluster.log.report("client at \(machine): \(why)")
    }

    /// The error for a client that sends plain bytes to a TLS port.
    static let plainError = ServerError(
        .protocolError,
        "this port takes only TLS connections, and this one is plain; connect with TLS (cqlsh --ssl, auspex shell --ssl)"
    )
    static let plainClientReason =
        "it sent plain bytes, but this port requires TLS; enable TLS there, or accept both here with optional: true in client_encryption_options"
    static let tlsClientReason =
        "it speaks TLS, and this port is plain; turn TLS off there, or on here with enabled: true and certificates in client_encryption_options"

    var hasConnections: Bool { clients.withLock { !$0.isEmpty } }

    /// Counts a new connection. Returns false when the limit is exceeded.
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

/// The sessions that receive server events.
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
