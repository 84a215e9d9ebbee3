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
    private let listeners = Mutex<[any Listener]>([])
    private let portState = Mutex(NodePorts(native: 0, line: 0, http: 0))
    private let drained = Mutex(false)
    private let acknowledgement: LogAcknowledgement

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
        let schema = try StorageHost.read(system, directory: directory)
        var options = StorageOptions()
        options.memtableBytes = configuration.memtableSpace
        options.cacheBytes = configuration.cacheSpace
        options.compactionBytesPerSecond = configuration.compactionThroughput
        options.log.segmentBytes = configuration.commitlogSegmentSize
        options.log.totalBytes = configuration.commitlogTotalSpace
        options.log.skipDamage = configuration.commitlogReplay == .skip
        options.log.boot = boot
        let events = EventHub()
        let host: StorageHost
        do {
            storage = try StorageEngine(
                system: system, time: time, background: background, directory: directory, options: options,
                observer: { event in
                    if case .failed = event { log.error("\(event.text)") } else { log.info("\(event.text)") }
                })
            host = StorageHost(system: system, engine: storage, directory: directory, events: events)
            try host.open(schema)
            replay = try storage.start()
            host.removeLeftovers(schema)
        } catch { throw .storage(error) }
        let node = NodeInfo(
            clusterName: configuration.clusterName, dataCenter: configuration.dataCenter, rack: configuration.rack, hostID: hostID,
            address: configuration.listenAddress, nativePort: configuration.nativeTransportPort, storagePort: configuration.storagePort,
            tokens: NodeInfo.evenTokens(configuration.numTokens),
            settings: ConfigurationKey.all.map { ($0.name, $0.text(in: configuration)) })
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
        queries = QueryEngine(
            replica: LocalReplica(engine: storage, node: hostID), host: host, clock: HybridClock(wallClock: { time.wallMicroseconds() }),
            node: node,
            schema: schema, limits: limits)
        let components = configuration.commitlogSyncGroupWindow.components
        acknowledgement = LogAcknowledgement(
            engine: storage, background: background, mode: configuration.commitlogSync,
            groupWindowNanoseconds: UInt64(max(0, components.seconds)) * 1_000_000_000
                + UInt64(max(0, components.attoseconds / 1_000_000_000)))
        let runner = RequestRunner(
            engine: queries, background: background, acknowledgement: acknowledgement, loops: network.loops, seed: seed, node: hostID,
            room: WaitingRoom(
                byteLimit: configuration.nativeTransportMaxRequestDataInFlight, turnTimeout: configuration.requestTimeout, time: time))
        services = NodeServices(configuration: configuration, time: time, storage: storage, runner: runner, events: events)
        if configuration.commitlogSync == .periodic {
            let period = configuration.commitlogSyncPeriod.components
            syncPeriodically(
                nanoseconds: max(
                    1_000_000, UInt64(max(0, period.seconds)) * 1_000_000_000 + UInt64(max(0, period.attoseconds / 1_000_000_000))))
        }
    }

    /// Begins to accept clients.
    public func listen() throws(NodeError) {
        let services = services
        let host = configuration.listenAddress
        do throws(NetworkError) {
            let native = try network.listen(host: host, port: configuration.nativeTransportPort, acknowledgement: acknowledgement) {
                connection in
                NodeServer.accept(connection, services) { NativeSession(connection: connection, server: services) }
            }
            let line = try network.listen(host: host, port: configuration.linePort, acknowledgement: acknowledgement) { connection in
                NodeServer.accept(connection, services) { LineSession(connection: connection, server: services) }
            }
            let http = try network.listen(host: configuration.httpAddress, port: configuration.httpPort, acknowledgement: nil) {
                [self] connection in
                HTTPSession(connection: connection, node: self)
            }
            listeners.withLock { $0 = [native, line, http] }
            queries.serves(nativePort: native.port)
            portState.withLock { $0 = NodePorts(native: native.port, line: line.port, http: http.port) }
        } catch { throw .network(error) }
    }

    private static func accept(
        _ connection: any Connection, _ services: NodeServices, _ make: () -> any ConnectionHandler
    ) -> any ConnectionHandler {
        if services.connectionOpened(connection) { return make() }
        return RefusedSession(connection: connection, server: services)
    }

    /// One line of JSON that says where the node serves.
    /// - Parameter milliseconds: since the process began.
    public func readyLine(milliseconds: Int) -> String {
        let ports = ports
        return AdminValue.object([
            ("ready", .bool(true)), ("native", .int(ports.native)), ("line", .int(ports.line)),
            ("internode", .int(configuration.storagePort)),
            ("http", .int(ports.http)), ("data", .string(configuration.dataDirectory)), ("millis", .int(milliseconds)),
        ]).json
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
    /// 2. Requests under way are answered, for at most `drainLimitMilliseconds`.
    /// 3. Everything is flushed and the log closed.
    /// 4. Connections close when their answers have gone out, or after `closeLimitMilliseconds`.
    public func drain() {
        drained.withLock { isDone in
            if isDone { return }
            isDone = true
            log.info("draining")
            services.beginDraining()
            for listener in listeners.withLock({ Array($0.prefix(2)) }) { listener.close() }
            wait(atMostMilliseconds: NodeServer.drainLimitMilliseconds) { services.runner.isIdle }
            do { try storage.close() } catch { storage.report("closing: \(error)") }
            services.closeConnections()
            wait(atMostMilliseconds: NodeServer.closeLimitMilliseconds) { !services.hasConnections }
        }
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
