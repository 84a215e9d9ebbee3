import Cluster
import Coordinator
import DataModel
import Logging
import Messages
import Platform
import Primitives
import Query
import Replica
import Storage
import Synchronization

/// The ports on which a node listens.
public struct NodePorts: Sendable {
    public var native: Int
    public var line: Int
    public var http: Int
    /// The internode port; 0 when other nodes cannot connect.
    public var internode: Int
    /// The separate port for TLS clients; 0 if there is none.
    public var nativeSSL = 0
}

/// One node: its storage, its query engine and its ports.
///
/// 1. Lock the data directory; read the node's identity and the schema.
/// 2. Open all tables and replay the commit log.
/// 3. Listen. From then on each request runs on a fiber of the loop on which it arrived.
/// 4. `drain`: stop accepting connections, let requests finish, flush everything, close.
///
/// **Thread safety**: all methods, from any thread.
public final class NodeServer: Sendable {
    public let configuration: NodeConfiguration
    public let hostID: UUID
    public let storage: StorageEngine
    public let queries: QueryEngine
    public let replay: ReplayReport
    let services: NodeServices
    let background: any Background
    let system: any FileSystem
    private let network: any Network
    public let log: Logger
    private let lock: any File
    private struct Listeners {
        var clients: [any Listener] = []
        var http: (any Listener)?
        var internode: (any Listener)?
    }
    private let listeners = Mutex(Listeners())
    private let portState = Mutex(NodePorts(native: 0, line: 0, http: 0, internode: 0))
    private let hasBegunDraining = Atomic<Bool>(false)
    private let hasDrained = Atomic<Bool>(false)
    private let acknowledgement: LogAcknowledgement
    let cluster: ClusterService

    public var ports: NodePorts { portState.withLock { $0 } }
    public var isDraining: Bool { services.isDraining }

    /// Opens the data directory and everything in it. Does not listen yet.
    /// - Parameters:
    ///   - boot: identifies the machine's boot (`CommitLogOptions.boot`).
    ///   - log: the node's log; the default discards it.
    public init(
        configuration: NodeConfiguration, system: any FileSystem, time: any TimeSource, background: any Background,
        network: any Network,
        boot: UInt64, seed: UInt64, log: Logger = Logger(label: "auspex", factory: { _ in SwiftLogNoOpLogHandler() })
    ) throws(NodeError) {
        self.log = log
        self.configuration = configuration
        self.background = background
        self.system = system
        self.network = network
        let directory = configuration.dataDirectory
        do {
            if !system.exists(directory) { try system.createDirectory(directory) }
            lock = try system.lock(directory + "/LOCK")
        } catch { throw .file(error) }
        hostID = try NodeIdentity.read(system, directory: directory, clusterName: configuration.clusterName, seed: seed)
        let metadata = MetadataStore(system: system, directory: directory, log: log)
        try metadata.open()
        try metadata.current?.checkPlace(of: hostID, configuration)
        let own = Endpoint(address: configuration.listenAddress, port: configuration.storagePort)
        if metadata.current == nil, configuration.seedEndpoints.allSatisfy({ $0 == own }) {
            let founded = try ClusterMetadata.founding(configuration, hostID: hostID, seed: seed)
            do { try metadata.begin(founded) } catch {
                throw .schema("the cluster's metadata cannot be stored: \(error)")
            }
        }
        let schema: Schema
        do throws(SchemaDecodingError) {
            schema =
                try metadata.current.map { (known) throws(SchemaDecodingError) in try MetadataStore.schema(of: known) }
                ?? Schema()
        } catch {
            throw .schema("the schema cannot be read: \(error)")
        }
        let tables: TableStorage
        let hints: HintStore
        do {
            storage = try StorageEngine(
                system: system, time: time, background: background, directory: directory,
                options: NodeServer.storageOptions(configuration, boot: boot),
                observer: { event in
                    if case .failed = event { log.error("\(event.text)") } else { log.info("\(event.text)") }
                })
            tables = TableStorage(engine: storage)
            try tables.open(schema)
            replay = try storage.start()
            tables.removeLeftovers(schema)
            hints = try NodeServer.openHints(configuration, system: system, time: time, log: log)
        } catch { throw .storage(error) }
        let clock = HybridClock(wallClock: { time.wallMicroseconds() })
        let replica = LocalReplica(engine: storage, node: hostID)
        acknowledgement = LogAcknowledgement(
            engine: storage, background: background, mode: configuration.commitlogSync,
            groupWindowNanoseconds: UInt64(configuration.commitlogSyncGroupWindow.microseconds) * 1000)
        let events = EventHub()
        var node = NodeInfo(
            clusterName: configuration.clusterName, dataCenter: configuration.dataCenter, rack: configuration.rack,
            hostID: hostID,
            address: configuration.listenAddress, nativePort: configuration.nativeTransportPort,
            storagePort: configuration.storagePort,
            tokens: [], settings: ConfigurationKey.all.map { ($0.name, $0.text(in: configuration)) })
        node.snitch = configuration.endpointSnitch
        cluster = ClusterService(
            configuration: configuration, hostID: hostID, system: system, time: time, background: background,
            network: network, storage: storage, tables: tables, metadata: metadata, replica: replica, clock: clock,
            acknowledgement: acknowledgement, hints: hints, events: events, log: log, seed: seed
        ) { host in
            QueryEngine(
                replica: replica, host: host, clock: clock, node: node, schema: schema,
                limits: configuration.queryLimits)
        }
        queries = cluster.queries
        let runner = RequestRunner(
            engine: queries, background: background, network: network, time: time, seed: seed, node: hostID,
            admission: AdmissionController(byteLimit: configuration.nativeTransportMaxRequestDataInFlight))
        services = NodeServices(
            configuration: configuration, time: time, storage: storage, runner: runner, events: events,
            cluster: cluster,
            acknowledgement: acknowledgement)
        if configuration.commitlogSync == .periodic {
            syncPeriodically(nanoseconds: max(1_000_000, UInt64(configuration.commitlogSyncPeriod.microseconds) * 1000))
        }
    }

    private static func storageOptions(_ configuration: NodeConfiguration, boot: UInt64) -> StorageOptions {
        var options = StorageOptions()
        options.memtableBytes = configuration.memtableSpace
        options.cacheBytes = configuration.cacheSpace
        options.compactionBytesPerSecond = configuration.compactionThroughput
        options.log.segmentBytes = configuration.commitlogSegmentSize
        options.log.totalBytes = configuration.commitlogTotalSpace
        options.log.skipDamage = configuration.commitlogReplay == .skip
        options.log.boot = boot
        return options
    }

    private static func openHints(
        _ configuration: NodeConfiguration, system: any FileSystem, time: any TimeSource, log: Logger
    ) throws(StorageError) -> HintStore {
        var options = HintStoreOptions()
        options.targetBytes = configuration.maxHintsSizePerHost
        options.totalBytes = configuration.maxHintsSizePerHost
        options.windowSeconds = UInt32(clamping: configuration.maxHintWindow.microseconds / 1_000_000)
        return try HintStore(
            system: system, time: time, directory: configuration.dataDirectory + "/hints", options: options,
            observer: { log.warning("\($0.text)") })
    }

    /// Starts to accept clients and other nodes. Returns when the node has its place in the cluster, which may take
    /// long if it joins one.
    ///
    /// Waits: call it on a thread that may block.
    public func listen() throws(NodeError) {
        let services = services
        let host = configuration.listenAddress
        do throws(NetworkError) {
            let clients = configuration.clientEncryption.listening
            let native = try listenNative(
                configuration.nativeTransportPort, configuration.nativeTransportPortSSL > 0 ? .none : clients)
            // A separate TLS port leaves the other ports plain.
            let secure =
                configuration.nativeTransportPortSSL > 0
                ? try listenNative(configuration.nativeTransportPortSSL, clients) : nil
            let line = try network.listen(
                host: host, port: configuration.linePort, encryption: secure == nil ? clients : .none,
                acknowledgement: acknowledgement
            ) { connection in
                NodeServer.accept(connection, services) { LineSession(connection: connection, server: services) }
            }
            let http = try network.listen(
                host: configuration.httpAddress, port: configuration.httpPort, acknowledgement: nil
            ) {
                [self] connection in
                HTTPSession(connection: connection, node: self)
            }
            let internode = try listenInternode(host)
            listeners.withLock {
                $0 = Listeners(clients: [native, line] + (secure.map { [$0] } ?? []), http: http, internode: internode)
            }
            portState.withLock {
                $0 = NodePorts(
                    native: native.port, line: line.port, http: http.port, internode: internode?.port ?? 0,
                    nativeSSL: secure?.port ?? 0)
            }
            cluster.local.nativePort.store(native.port, ordering: .relaxed)
        } catch { throw .network(error) }
        try cluster.start()
        services.beginServing()
    }

    private func listenNative(_ port: Int, _ encryption: Encryption) throws(NetworkError) -> any Listener {
        let services = services
        return try network.listen(
            host: configuration.listenAddress, port: port, encryption: encryption, acknowledgement: acknowledgement
        ) { connection in
            NodeServer.accept(connection, services) { NativeSession(connection: connection, server: services) }
        }
    }

    private func listenInternode(_ host: String) throws(NetworkError) -> (any Listener)? {
        let cluster = cluster
        do throws(NetworkError) {
            let listener = try network.listen(
                host: host, port: configuration.storagePort, encryption: configuration.serverEncryption.listening,
                acknowledgement: acknowledgement
            ) { connection in
                cluster.server.accept(connection)
            }
            cluster.local.listens(at: Endpoint(address: host, port: listener.port))
            return listener
        } catch {
            // A single node without seeds does not need the internode port.
            guard configuration.seeds.isEmpty, cluster.metadata.current?.members.count == 1 else { throw error }
            log.warning("\(error); this node serves, but no other can join it")
            return nil
        }
    }

    private static func accept(
        _ connection: any Connection, _ services: NodeServices, _ make: () -> any ConnectionHandler
    ) -> any ConnectionHandler {
        if services.connectionOpened(connection) && services.isServing { return make() }
        return RefusedSession(connection: connection, server: services)
    }

    /// One line of JSON with the ports on which the node serves.
    /// - Parameter milliseconds: since the process began.
    public func readyLine(milliseconds: Int) -> String {
        let ports = ports
        var facts: [(String, AdminValue)] = [
            ("ready", .bool(true)), ("native", .int(ports.native)), ("line", .int(ports.line)),
            ("internode", .int(ports.internode)), ("http", .int(ports.http)),
        ]
        if ports.nativeSSL > 0 { facts.append(("native_ssl", .int(ports.nativeSSL))) }
        facts += [("data", .string(configuration.dataDirectory)), ("millis", .int(milliseconds))]
        return AdminValue.object(facts).json
    }

    /// Syncs the log periodically, so that a power loss costs at most one period.
    private func syncPeriodically(nanoseconds: UInt64) {
        background.run(.sync) { [weak self, background] in
            background.sleep(nanoseconds: nanoseconds)
            guard let self, !self.isDraining else { return }
            do { try self.storage.syncLog() } catch { self.storage.report("sync of the commit log: \(error)") }
            self.syncPeriodically(nanoseconds: nanoseconds)
        }
    }

    /// Ends the node's service; afterwards the process may exit. A second call waits for the first and does nothing.
    ///
    /// 1. New connections and new requests are refused.
    /// 2. Requests in progress are answered, within `drainLimitMilliseconds`. Other nodes are told.
    /// 3. Everything is flushed and the log is closed.
    /// 4. Connections close when their output has been sent, or after `closeLimitMilliseconds`.
    public func drain() {
        if hasBegunDraining.exchange(true, ordering: .acquiringAndReleasing) {
            while !hasDrained.load(ordering: .acquiring) { background.sleep(nanoseconds: 1_000_000) }
            return
        }
        log.info("draining")
        services.beginDraining()
        for listener in listeners.withLock({ $0.clients }) { listener.close() }
        wait(atMostMilliseconds: NodeServer.drainLimitMilliseconds) { services.runner.admission.waiting == 0 }
        cluster.sayGoodBye()
        listeners.withLock { $0.internode }?.close()
        cluster.stop()
        do { try storage.close() } catch { storage.report("closing: \(error)") }
        services.closeConnections()
        wait(atMostMilliseconds: NodeServer.closeLimitMilliseconds) { !services.hasConnections }
        // No more writes follow: another process may use the directory before this one exits.
        lock.close()
        hasDrained.store(true, ordering: .releasing)
    }

    static let drainLimitMilliseconds = 10_000
    static let closeLimitMilliseconds = 2_000

    private func wait(atMostMilliseconds limit: Int, until isDone: () -> Bool) {
        for _ in 0..<limit {
            if isDone() { return }
            background.sleep(nanoseconds: 1_000_000)
        }
    }
}

/// The session of a connection that is refused: it is closed without an answer.
final class RefusedSession: ConnectionHandler {
    private let connection: any Connection
    private let server: NodeServices

    init(connection: any Connection, server: NodeServices) {
        self.connection = connection
        self.server = server
        connection.onLoop { connection.closeAfterOutput() }
    }

    var isPaused: Bool { false }
    func receive(_ input: UnsafeRawBufferPointer) -> Int { input.count }
    func takeOutput(failure: String?, _ body: (UnsafeRawBufferPointer) -> Void) {}
    func inputEnded(_ rest: UnsafeRawBufferPointer) {}
    func closed() { server.connectionClosed(connection) }
}
