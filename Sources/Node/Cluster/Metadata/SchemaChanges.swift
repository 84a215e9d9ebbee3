import Cluster
import Coordinator
import DataModel
import Messages
import Platform
import Primitives
import Query

/// Makes the changes of the schema that statements ask for.
///
/// **Thread safety**: all methods, on background threads, which they block.
struct SchemaChanges: SchemaHost {
    private let changes: MetadataChanges
    private let local: LocalNode
    private let metadata: MetadataStore
    private let liveness: Liveness
    private let peers: PeerClient
    private let time: any TimeSource
    private let background: any Background
    private let stop: StopSignal
    /// Microseconds.
    private let truncateTimeout: Int64
    private let slowRequests = SlowRequestLog()

    init(
        configuration: NodeConfiguration, changes: MetadataChanges, local: LocalNode, metadata: MetadataStore,
        liveness: Liveness, peers: PeerClient, time: any TimeSource, background: any Background, stop: StopSignal
    ) {
        self.changes = changes
        self.local = local
        self.metadata = metadata
        self.liveness = liveness
        self.peers = peers
        self.time = time
        self.background = background
        self.stop = stop
        truncateTimeout = configuration.truncateRequestTimeout.microseconds
    }

    func change(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        try changes.change(SchemaChanges.step(change))
    }

    /// Makes a change that is in force on every node when this returns.
    ///
    /// Only TRUNCATE needs that, so the errors speak of it.
    func changeEverywhere(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        let dead = others.count { !liveness.isAlive($0.node.id) }
        guard dead == 0 else {
            throw ServerError(
                .truncateError,
                "Truncate needs every node, and \(dead) of them \(dead == 1 ? "is" : "are") down; nothing was removed: "
                    + "bring them back or remove them, and try again")
        }
        let deadline = time.monotonicMicroseconds() + truncateTimeout
        try changes.change(SchemaChanges.step(change))
        guard let value = metadata.current?.encode() else { return }
        var waiting = others.map(\.node)
        while true {
            let replies = peers.askAll(
                .metadata(.chosen(epoch: 0, value: value)), at: waiting.map { ($0.endpoint, $0.id) },
                timeout: 2_000_000)
            waiting = zip(waiting, replies).compactMap { node, reply in
                if case .metadata = reply { return nil }
                return metadata.current?.member(node.id).map(\.node)
            }
            guard let late = waiting.first else { return }
            guard time.monotonicMicroseconds() < deadline, !stop.isSet,
                waiting.allSatisfy({ liveness.isAlive($0.id) })
            else {
                let who = waiting.count == 1 ? "the node at \(late.endpoint) has" : "\(waiting.count) nodes have"
                throw ServerError(
                    .truncateError,
                    "The rows are removed, but \(who) not confirmed it: rows written there until then may be removed too. "
                        + "Try again when all nodes are up")
            }
            background.sleep(nanoseconds: 100_000_000)
        }
    }

    private var others: [ClusterMetadata.Member] {
        metadata.current?.members.filter { $0.node.id != local.hostID } ?? []
    }

    private static func step(_ change: @escaping SchemaStep) -> MetadataChanges.Step {
        { (metadata) throws(ServerError) in
            let schema: Schema
            do throws(SchemaDecodingError) { schema = try MetadataStore.schema(of: metadata) } catch {
                throw ServerError(.serverError, "the schema cannot be read: \(error)")
            }
            guard let next = try change(schema) else { return nil }
            var changed = metadata
            changed.schema = next.encode()
            return changed
        }
    }

    func slow(_ statement: String, milliseconds: Int) {
        let second = HybridClock.systemMicroseconds() / 1_000_000
        if let line = slowRequests.line(statement, milliseconds: milliseconds, second: second) { NodeLog.line(line) }
    }
}
