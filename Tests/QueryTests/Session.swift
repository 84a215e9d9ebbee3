import CQL
import Coordinator
import DataModel
import Messages
import ModelLoop
import Platform
import Primitives
import Synchronization

@testable import Query

/// The schema host of a test: stores the schema's bytes, truncates, and records announcements.
final class TestHost: SchemaHost {
    struct State {
        var stored: [UInt8] = []
        var announced: [SchemaChange] = []
        var dropped: [String] = []
        var slow: [String] = []
    }

    let state = Mutex(State())
    let replica: MemoryReplica

    init(_ replica: MemoryReplica) { self.replica = replica }

    func change(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        guard let next = try change(engine.schema) else { return }
        let difference = SchemaDifference(from: engine.schema, to: next)
        let bytes = next.encode()
        state.withLock { state in
            state.stored = bytes
            state.dropped += difference.dropped.map(\.qualifiedName)
            state.announced += difference.changes
        }
        engine.install(next, difference)
    }

    func slow(_ statement: String, milliseconds: Int) {
        state.withLock { $0.slow.append("\(milliseconds) \(statement)") }
    }
}

/// A client of an engine, with a clock that only the test advances. The engine reads and writes one `MemoryReplica`, or
/// three replicas through a coordinator.
final class Session {
    let replica: MemoryReplica
    /// Used instead of `replica`.
    let cluster: QueryCluster?
    let host: TestHost
    let engine: QueryEngine
    /// For requests on the test's own stack.
    let context: RequestContext
    /// The client of all requests.
    var client: ClientPresence?
    private let loop: ModelLoop
    /// The deepest use of a fiber's stack so far.
    private(set) var deepestStackBytes = 0
    private let wall: Wall
    var options = QueryOptions()

    final class Wall: Sendable {
        let micros = Mutex<Int64>(1_700_000_000_000_000)
        /// How much time passes at each reading of the clock.
        let step = Mutex<Int64>(0)

        func look() -> Int64 {
            let step = step.withLock { $0 }
            return micros.withLock { micros in
                defer { micros += step }
                return micros
            }
        }
    }

    init(
        seed: UInt64 = 1, waitsOneIn: UInt64 = 0, cluster kind: QueryCluster.Kind? = nil,
        limits: QueryLimits = QueryLimits(), schema: Schema = Schema()
    ) {
        replica = MemoryReplica(seed: seed, waitsOneIn: waitsOneIn)
        host = TestHost(replica)
        let identifiers = IdentifierSource(seed: 7, clockSequenceAndNode: 0x0102_0304_0506_0708)
        context = RequestContext(identifiers: identifiers)
        loop = ModelLoop(seed: seed) { RequestContext(identifiers: identifiers) }
        let wall = Wall()
        self.wall = wall
        cluster = kind.map { kind in
            QueryCluster(kind, seed: seed, wallClock: { wall.look() }) { RequestContext(identifiers: identifiers) }
        }
        engine = QueryEngine(
            replica: replica, host: host, clock: HybridClock(wallClock: { wall.look() }),
            node: NodeInfo(
                clusterName: "Test Cluster", dataCenter: "datacenter1", rack: "rack1",
                hostID: UUID(high: 0x1000, low: 1 << 63),
                address: "127.0.0.1", nativePort: 9042, storagePort: 7000,
                tokens: [-4_611_686_018_427_387_905, 4_611_686_018_427_387_902],
                settings: [("cluster_name", "Test Cluster")]),
            schema: schema, limits: limits)
    }

    var microsecondsPerLook: Int64 {
        get { wall.step.withLock { $0 } }
        set { wall.step.withLock { $0 = newValue } }
    }

    func advance(microseconds: Int64) { wall.micros.withLock { $0 += microseconds } }

    /// Reads and writes that the engine has asked for. A statement that is executed twice asks twice.
    var calls: Int { cluster?.calls ?? replica.calls }

    func execute(_ text: String, _ values: ValueList = ValueList()) throws(ServerError) -> Answer {
        let statement = try onFiber { [self] _, _ in try engine.statement(text, keyspace: options.keyspace) }
        return try execute(statement, values)
    }

    func execute(_ statement: PreparedStatement, _ values: ValueList = ValueList()) throws(ServerError) -> Answer {
        advance(microseconds: 1000)
        return try onFiber { [self] context, port in
            var options = options
            if let port { options.port = port }
            context.client = client
            return try engine.execute(statement, values: values, options: options, context: context)
        }
    }

    /// Runs `body` on a fiber.
    private func onFiber<R>(
        _ body: @escaping (RequestContext, (any ReplicaPort)?) throws -> R
    ) throws(ServerError) -> R {
        func run(_ fiber: Fiber?, _ port: (any ReplicaPort)?) throws -> R {
            guard let fiber, let context = fiber.attachment as? RequestContext else { throw ModelLoop.Stuck() }
            defer { deepestStackBytes = max(deepestStackBytes, fiber.deepestStackBytes) }
            return try body(context, port)
        }
        do {
            guard let cluster else { return try loop.run { try run($0, nil) } }
            return try cluster.run(engine.schema, options) { try run(Fiber.current, $0) }
        } catch let error as ServerError { throw error } catch {
            throw ServerError(.serverError, "the request never ended: \(error)")
        }
    }
}

extension ResultRows {
    /// The rows' cells as JSON.
    var texts: [[String]] {
        var rows: [[String]] = []
        cells.withUnsafeBytes { raw in
            var offset = 0
            for _ in 0..<rowCount {
                var row: [String] = []
                for column in metadata.columns {
                    let length = Int(Int32(bigEndian: raw.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
                    offset += 4
                    guard length >= 0 else {
                        row.append("null")
                        continue
                    }
                    var text = ByteWriter()
                    column.type.appendJSON(UnsafeRawBufferPointer(rebasing: raw[offset..<offset + length]), to: &text)
                    row.append(String(decoding: text.toArray(), as: UTF8.self))
                    offset += length
                }
                rows.append(row)
            }
            precondition(offset == raw.count, "the cells end at \(offset) of \(raw.count)")
        }
        return rows
    }
}
