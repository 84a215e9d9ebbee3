import Coordinator
import DataModel
import Messages
import ModelLoop
import Primitives
import Query
import VirtualCluster

/// Three nodes with real coordinators and model replicas, for the requests of an engine.
///
/// Every request runs on a fiber, which waits for the steps that a node drawn at random coordinates. Messages are
/// encoded, take a random time and overtake each other. The seed determines every run.
final class QueryCluster {
    enum Kind: CaseIterable {
        /// All three nodes are replicas of every row.
        case threeReplicas
        /// Two of the three nodes are replicas of a row, often without the coordinator.
        case twoReplicas
        /// All three nodes are replicas, but the writes of a request do not reach one of them, drawn at random.
        case missedWrites

        var replicationFactor: Int { self == .twoReplicas ? 2 : 3 }
    }

    private let cluster: VirtualCluster
    private let kind: Kind
    /// The node that misses the writes of the current request.
    private var missing = 0
    /// The version of the schema that the nodes know.
    private var version: UUID?
    /// Reads and writes that the engine has asked for.
    private(set) var calls = 0

    init(
        _ kind: Kind, seed: UInt64, wallClock: @escaping @Sendable () -> Int64,
        makeAttachment: @escaping () -> AnyObject
    ) {
        self.kind = kind
        cluster = VirtualCluster(3, seed: seed, tokensPerNode: 4, wallClock: wallClock)
        cluster.makeAttachment = makeAttachment
        // Slow messages are slower than the delay after which another replica is read.
        cluster.faults.slow = 0.05
        guard kind == .missedWrites else { return }
        cluster.fate = { [unowned self] from, to, request in
            guard to == missing, from != to else { return nil }
            switch request {
            case .write, .propose, .commit: return .lose
            default: return nil
            }
        }
    }

    /// Runs `body` on a fiber, with the port of a request that has these options.
    func run<R>(
        _ schema: Schema, _ options: Query.QueryOptions, _ body: @escaping (any ReplicaPort) throws -> R
    ) throws -> R {
        show(schema)
        missing = Int(cluster.pick(0...2))
        let result = cluster.wait(
            on: Int(cluster.pick(0...2)), options.consistency, serial: options.serialConsistency,
            pageRows: options.pageSize, gcGrace: { UInt32(schema.tables[$0]?.options.gcGraceSeconds ?? 0) }
        ) { [self] request in
            Result { try body(CountingPort(request) { [self] in calls += 1 }) }
        }
        guard let result else { throw ModelLoop.Stuck() }
        return try result.get().get()
    }

    /// Gives the nodes the tables of a schema. The replication factor is that of the cluster's kind instead of the
    /// keyspace's.
    private func show(_ schema: Schema) {
        if schema.version == version { return }
        version = schema.version
        cluster.keyspaces = schema.keyspaces.filter { !$0.value.isVirtual }.mapValues { _ in
            ["class": "SimpleStrategy", "replication_factor": "\(kind.replicationFactor)"]
        }
        cluster.tables = schema.tables.filter { !$0.value.isVirtual }.mapValues { table in
            TableRules(
                keyspace: table.keyspace, speculativeRetry: SpeculativeRetry(option: table.options.speculativeRetry),
                repairsReads: table.options.readRepair != "NONE")
        }
    }
}

/// Counts the reads and writes of a request.
///
/// SAFETY: `@unchecked Sendable` because a virtual cluster runs on one thread.
private final class CountingPort: ReplicaPort, @unchecked Sendable {
    private let request: CoordinatedRequest
    private let count: () -> Void

    init(_ request: CoordinatedRequest, count: @escaping () -> Void) {
        self.request = request
        self.count = count
    }

    var transactionTimestamp: Int64? { request.transactionTimestamp }
    var isCoordinated: Bool { request.isCoordinated }
    var warnings: [String] { request.warnings }
    func refresh() { request.refresh() }

    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        count()
        try request.apply(mutations, type: type)
    }

    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        count()
        try request.applyCounters(deltas)
    }

    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError) {
        try request.withTransaction(table: table, partition: partition, reading: reading, body)
    }

    func willRead(table: UUID, ranges: [KeyRange], reversed: Bool) {
        request.willRead(table: table, ranges: ranges, reversed: reversed)
    }

    func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        count()
        try request.scan(table: table, range: range, reversed: reversed, visit)
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (_ row: RowView) -> Void) throws(ReplicaError) {
        count()
        try request.get(table: table, key: key, visit)
    }
}
