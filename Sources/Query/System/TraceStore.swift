import DataModel
import Glibc
import Primitives
import Synchronization

/// A traced request in progress.
///
/// **Thread safety**: only the fiber that runs the request.
final class Trace {
    let id: UUID
    let startedMicroseconds: Int64
    let command: String
    let request: String
    let client: String
    let parameters: [String: String]
    private let startedNanoseconds: UInt64
    private(set) var events: [(activity: String, elapsedMicroseconds: Int32)] = []
    private static let maximumEvents = 64

    init(
        id: UUID, startedMicroseconds: Int64, command: String, request: String, client: String,
        parameters: [String: String]
    ) {
        self.id = id
        self.startedMicroseconds = startedMicroseconds
        self.command = command
        self.request = request
        self.client = client
        self.parameters = parameters
        startedNanoseconds = RowProjector.monotonicNanoseconds()
    }

    var elapsedMicroseconds: Int32 {
        Int32(clamping: (RowProjector.monotonicNanoseconds() - startedNanoseconds) / 1000)
    }

    func note(_ activity: String) {
        if events.count < Trace.maximumEvents { events.append((activity, elapsedMicroseconds)) }
    }
}

/// A finished trace: the rows of `system_traces`.
public struct TraceSession: Sendable {
    public let id: UUID
    public let startedMicroseconds: Int64
    public let durationMicroseconds: Int32
    public let command: String
    public let request: String
    public let client: String
    public let parameters: [String: String]
    public let events: [(activity: String, elapsedMicroseconds: Int32)]

    func values(_ node: NodeInfo) -> [String: [UInt8]] {
        [
            "session_id": NativeValue.uuid(id), "client": SystemRows.inet(client), "command": NativeValue.text(command),
            "coordinator": SystemRows.inet(node.address),
            "coordinator_port": NativeValue.int(Int32(truncatingIfNeeded: node.storagePort)),
            "duration": NativeValue.int(durationMicroseconds), "parameters": NativeValue.textMap(parameters),
            "request": NativeValue.text(request), "started_at": NativeValue.bigint(startedMicroseconds / 1000),
        ]
    }

    func eventValues(_ node: NodeInfo) -> [[String: [UInt8]]] {
        events.enumerated().map { index, event in
            let ticks =
                UUID.unixEpochTicks &+ UInt64(bitPattern: startedMicroseconds &+ Int64(event.elapsedMicroseconds)) &* 10
                &+ UInt64(index)
            return [
                "session_id": NativeValue.uuid(id),
                "event_id": NativeValue.uuid(UUID.timeBased(ticks: ticks, clockSequenceAndNode: id.low)),
                "activity": NativeValue.text(event.activity), "source": SystemRows.inet(node.address),
                "source_elapsed": NativeValue.int(event.elapsedMicroseconds),
                "source_port": NativeValue.int(Int32(truncatingIfNeeded: node.storagePort)),
                "thread": NativeValue.text("request"),
            ]
        }
    }
}

/// The most recent traces, in memory: a ring of bounded size.
///
/// **Thread safety**: any thread.
public final class TraceStore: Sendable {
    private struct State {
        var ring: [TraceSession] = []
        var next = 0
        var lastTicks: UInt64 = 0
    }

    private let state = Mutex(State())
    /// The number of sessions kept.
    public static let capacity = 256

    init() {}

    func begin(
        _ request: String, options: QueryOptions, node: NodeInfo, command: String, startedMicroseconds: Int64
    ) -> Trace {
        let ticks = state.withLock { state in
            state.lastTicks = max(
                UUID.unixEpochTicks &+ UInt64(bitPattern: startedMicroseconds) &* 10, state.lastTicks + 1)
            return state.lastTicks
        }
        var parameters = [
            "consistency_level": options.consistency.name, "serial_consistency_level": options.serialConsistency.name,
        ]
        parameters["query"] = request
        parameters["page_size"] = options.pageSize > 0 ? "\(options.pageSize)" : nil
        return Trace(
            id: UUID.timeBased(ticks: ticks, clockSequenceAndNode: node.hostID.low),
            startedMicroseconds: startedMicroseconds,
            command: command, request: command == "BATCH" ? request : "Execute CQL3 query",
            client: options.clientAddress,
            parameters: parameters)
    }

    func finish(_ trace: Trace) {
        let session = TraceSession(
            id: trace.id, startedMicroseconds: trace.startedMicroseconds,
            durationMicroseconds: max(1, trace.elapsedMicroseconds),
            command: trace.command, request: trace.request, client: trace.client, parameters: trace.parameters,
            events: trace.events)
        state.withLock { state in
            if state.ring.count < TraceStore.capacity {
                state.ring.append(session)
            } else {
                state.ring[state.next] = session
                state.next = (state.next + 1) % TraceStore.capacity
            }
        }
    }

    /// The sessions kept, in no particular order.
    public var sessions: [TraceSession] { state.withLock { $0.ring } }

    /// Returns one session, for clients that display traces themselves.
    public func session(_ id: UUID) -> TraceSession? { state.withLock { $0.ring.first { $0.id == id } } }
}
