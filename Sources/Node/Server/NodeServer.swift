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

/// Ports a node listens on.
public struct NodePorts: Sendable {
    public var native: Int
    public var line: Int
    public var http: Int
    /// Of other nodes; 0 when none can connect.
    public var internode: Int
    /// Of clients that speak TLS, where that is a port of its own; 0: it is not.
    public var nativeSSL = 0
}

/// One node: storage, queries and the ports they are reached through.
///
/// 1. Lock the data directory, read who this node is and the schema.
/// 2. Open all tables, replay the commit log.
/// 3. Listen. From here on every request runs on the loop it arrived on.
/// 4. `drain`: stop accepting, let requests finish, flush everything, close.
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

    /// Opens the data directory and everything in it; does not listen yet.
    /// - Parameters:
    ///   - boot: identifies the run of the machine (`CommitLogOptions.boot`).
    ///   - log: what the node does is said here; nothing by default.
    public init(
        configuration: NodeConfiguration, system: any FileSystem, time: any TimeSource, background: any Background, network: any Network,
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
            do { try metadata.begin(founded) } catch { throw .schema("the cluster's metadata cannot be kept: \(error)") }
        }
        let schema: Schema
        do throws(SchemaDecodingError) {
            schema = try metadata.current.map { (known) throws(SchemaDecodingError) in try MetadataStore.schema(of: known) } ?? Schema()
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
            clusterName: configuration.clusterName, dataCenter: configuration.dataCenter, rack: configuration.rack, hostID: hostID,
            address: configuration.listenAddress, nativePort: configuration.nativeTransportPort, storagePort: configuration.storagePort,
            tokens: [], settings: ConfigurationKey.all.map { ($0.name, $0.text(in: configuration)) })
        node.snitch = configuration.endpointSnitch
        cluster = ClusterService(
            configuration: configuration, hostID: hostID, system: system, time: time, background: background,
            network: network, storage: storage, tables: tables, metadata: metadata, replica: replica, clock: clock,
            acknowledgement: acknowledgement, hints: hints, events: events, log: log, seed: seed
        ) { host in
            QueryEngine(
                replica: replica, host: host, clock: clock, node: node, schema: schema,
                limits: NodeServer.queryLimits(configuration))
        }
        queries = cluster.queries
        let runner = RequestRunner(
            engine: queries, background: background, network: network, time: time, seed: seed, node: hostID,
            admission: AdmissionController(byteLimit: configuration.nativeTransportMaxRequestDataInFlight))
        services = NodeServices(
            configuration: configuration, time: time, storage: storage, runner: runner, events: events, cluster: cluster,
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

    private static func queryLimits(_ configuration: NodeConfiguration) -> QueryLimits {
        var limits = QueryLimits()
        limits.tombstoneWarnThreshold = configuration.tombstoneWarnThreshold
        limits.tombstoneFailureThreshold = configuration.tombstoneFailureThreshold
        limits.batchSizeWarnThreshold = configuration.batchSizeWarnThreshold
        limits.batchSizeFailThreshold = configuration.batchSizeFailThreshold
        limits.unloggedBatchAcrossPartitionsWarnThreshold = configuration.unloggedBatchAcrossPartitionsWarnThreshold
        limits.maxMutationSize = configuration.maxMutationSize
        limits.preparedStatementsCacheSize = configuration.preparedStatementsCacheSize
        limits.readTimeout = configuration.readRequestTimeout
        limits.rangeTimeout = configuration.rangeRequestTimeout
        limits.maxValueSize = configuration.maxValueSize
        limits.slowQuery = configuration.slowQueryLogTimeout
        return limits
    }

    /// Begins to accept clients and other nodes; returns when the node has its place in the cluster, which may take long where it joins one.
    ///
    /// May wait: call it on a thread that may.
    public func listen() throws(NodeError) {
        let services = services
        let host = configuration.listenAddress
        do throws(NetworkError) {
            let clients = configuration.clientEncryption.listening
            let native = try listenNative(configuration.nativeTransportPort, configuration.nativeTransportPortSSL > 0 ? .none : clients)
            // A port for TLS of its own leaves the others as they are.
            let secure = configuration.nativeTransportPortSSL > 0 ? try listenNative(configuration.nativeTransportPortSSL, clients) : nil
            let line = try network.listen(
                host: host, port: configuration.linePort, encryption: secure == nil ? clients : .none, acknowledgement: acknowledgement
            ) { connection in
                NodeServer.accept(connection, services) { LineSession(connection: connection, server: services) }
            }
            let http = try network.listen(host: configuration.httpAddress, port: configuration.httpPort, acknowledgement: nil) {
                [self] connection in
                HTTPSession(connection: connection, node: self)
            }
            let internode = try listenInternode(host)
            listeners.withLock { $0 = Listeners(clients: [native, line] + (secure.map { [$0] } ?? []), http: http, internode: internode) }
            portState.withLock {
                $0 = NodePorts(
                    native: native.port, line: line.port, http: http.port, internode: internode?.port ?? 0, nativeSSL: secure?.port ?? 0)
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
            // A node that is alone and was not told of others needs none.
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

    /// One line of JSON that says where the node serves.
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

    /// Syncs the log now and then, so that a loss of power costs at most the period.
    private func syncPeriodically(nanoseconds: UInt64) {
        background.run(.sync) { [weak self, background] in
            background.sleep(nanoseconds: nanoseconds)
            guard let self, !self.isDraining else { return }
            do { try self.storage.syncLog() } catch { self.storage.report("sync of the commit log: \(error)") }
            self.syncPeriodically(nanoseconds: nanoseconds)
        }
    }

    /// Ends the node's service; the process may end then. A second call waits for the first and does nothing.
    ///
    /// 1. No new connection is accepted, and a request that comes now is refused.
    /// 2. Requests under way are answered, for at most `drainLimitMilliseconds`; other nodes are told.
    /// 3. Everything is flushed and the log closed.
    /// 4. Connections close when their answers have gone out, or after `closeLimitMilliseconds`.
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
        // Nothing is written any more: whoever takes the directory over need not wait for the process to end.
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

/// A client beyond the limit of connections: told so, and closed.
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
