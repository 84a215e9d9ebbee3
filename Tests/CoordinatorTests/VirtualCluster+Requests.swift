import DataModel
import Messages
import Platform
import Primitives

@testable import Cluster
@testable import Coordinator

/// A model replica as the local port of its node.
///
/// SAFETY: `@unchecked` because a virtual cluster runs on one thread.
final class ModelPort: ReplicaPort, @unchecked Sendable {
    private let node: VirtualNode

    init(_ node: VirtualNode) { self.node = node }

    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        node.replica.apply(mutations.out.toArray())
    }
    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {}
    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError) {
        _ = body()
    }

    func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        for (key, row) in node.replica.rows(table, range, reversed: reversed) {
            let step = key.withUnsafeBytes { key in row.withUnsafeBytes { visit(key, RowView($0)) } }
            if step == .stop { return }
        }
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (_ row: RowView) -> Void) throws(ReplicaError) {
        let bytes = key.toArray()
        for (_, row) in node.replica.rows(table, KeyRange(start: bytes, end: bytes + [0])) {
            row.withUnsafeBytes { visit(RowView($0)) }
        }
    }
}

/// Runs the steps of one request on the coordinator of its node.
private final class VirtualRunner: StepRunner {
    let cluster: VirtualCluster
    let node: Int
    let consistency: Consistency
    let serial: Consistency
    var crash: () -> Void = {}

    init(_ cluster: VirtualCluster, node: Int, consistency: Consistency, serial: Consistency) {
        self.cluster = cluster
        self.node = node
        self.consistency = consistency
        self.serial = serial
    }

    var view: ClusterView? { cluster.view(node) }
    var now: Int64 { cluster.time.now }

    func takeTurn(_ key: PaxosKey) -> PartitionTurn { PartitionTurns().take(key) {}.turn }

    func rest(attempt: Int) { Fiber.current?.sleep(nanoseconds: UInt64(cluster.pick(1...100) * 1000)) }

    func start(_ started: StartedStep, for request: CoordinatedRequest) {
        do throws(ServerError) {
            try cluster.begin(on: node) { (coordinator, _, now) throws(ServerError) in
                switch started.step {
                case .write(let bytes, let type):
                    try coordinator.write(
                        bytes, consistency: consistency, type: type, cluster: request.cluster, now: now)
                case .count(let bytes):
                    try coordinator.count(bytes, consistency: consistency, cluster: request.cluster, now: now)
                case .read(let command, let level, let isByKey):
                    coordinator.read(command, consistency: level, cluster: request.cluster, isByKey: isByKey, now: now)
                case .prepare(let key, let reading, let deadline):
                    try coordinator.prepare(
                        key, reading: reading, serial: serial, cluster: request.cluster, deadline: deadline, now: now)
                case .propose(let key, let ballot, let value, let deadline):
                    try coordinator.propose(
                        key, ballot: ballot, value: value, serial: serial, commit: consistency,
                        cluster: request.cluster,
                        deadline: deadline, now: now)
                }
            } then: { [self] result in
                guard let result else { return crash() }
                started.finish(result)
            }
        } catch { started.finish(.failure(error)) }
    }

    func finish(_ started: StartedStep, for request: CoordinatedRequest) throws(ServerError) -> Outcome {
        if started.result == nil {
            guard let fiber = Fiber.current else { preconditionFailure("a request waits outside a fiber") }
            started.resume = { fiber.resume() }
            fiber.suspend()
        }
        guard let result = started.result else { preconditionFailure("resumed without a result") }
        return try result.get()
    }
}

/// The loop of the requests, on the cluster's time.
private struct VirtualLoops: EventLoops {
    // SAFETY: all of a virtual cluster runs on one thread.
    nonisolated(unsafe) let cluster: VirtualCluster
    func onLoop(_ loop: Int, _ work: @escaping @Sendable () -> Void) { cluster.at(cluster.time.now, work) }
    func schedule(loop: Int, nanoseconds: UInt64, _ work: @escaping @Sendable () -> Void) {
        cluster.at(cluster.time.now + Int64(nanoseconds / 1000), work)
    }
}

extension VirtualCluster {
    /// Runs a request through a `ClusterPort`, restarting it as often as the port asks.
    /// - Parameter then: receives the result, or nil when the node crashes first.
    func request<T>(
        on node: Int, _ consistency: Consistency, serial: Consistency = .serial, pageRows: Int = 0,
        contentionTimeout: Int64 = 1_800_000,
        gcGrace: UInt32 = 864_000, _ body: @escaping (CoordinatedRequest) throws(ReplicaError) -> T,
        then: @escaping (Result<T, ServerError>?) -> Void
    ) {
        let runner = VirtualRunner(self, node: node, consistency: consistency, serial: serial)
        let request = CoordinatedRequest(
            cluster: view(node), local: ModelPort(nodes[node]), runner: runner, consistency: consistency,
            serial: serial,
            pageRows: pageRows, contentionTimeout: contentionTimeout, gcGrace: { _ in gcGrace },
            nowSeconds: UInt32((VirtualTime.epoch + time.now) / 1_000_000))
        var hasCrashed = false
        runner.crash = {
            if hasCrashed { return }
            hasCrashed = true
            then(nil)
        }
        let pool =
            fibers
            ?? FiberPool(
                loop: 0, network: VirtualLoops(cluster: self), background: InlineBackground(), time: ManualTime(),
                limit: 1 << 20,
                stackBytes: 512 << 10)
        fibers = pool
        let turn = pool.run { [self] in
            do throws(ReplicaError) {
                let value = try body(request)
                then(.success(value))
            } catch {
                guard case .server(let error) = error else { preconditionFailure("seed \(seed): \(error)") }
                then(.failure(error))
            }
        }
        precondition(turn != .refused, "no fiber is free")
    }

    func wait<T>(
        on node: Int, _ consistency: Consistency, serial: Consistency = .serial, pageRows: Int = 0,
        gcGrace: UInt32 = 864_000,
        _ body: @escaping (CoordinatedRequest) throws(ReplicaError) -> T
    ) -> Result<T, ServerError>? {
        var result: Result<T, ServerError>?
        var isDone = false
        request(on: node, consistency, serial: serial, pageRows: pageRows, gcGrace: gcGrace, body) {
            result = $0
            isDone = true
        }
        run { !isDone }
        return result
    }
}

/// Builds keys, rows and mutations for tests.
enum Sample {
    /// Returns the key of a row in a one-byte partition at a chosen token.
    static func key(token: Int64, _ partition: UInt8, _ clustering: [UInt8]) -> [UInt8] {
        prefix(token: token, partition) + [KeyView.rowKind] + clustering
    }

    static func prefix(token: Int64, _ partition: UInt8) -> [UInt8] {
        var out = ByteWriter()
        out.writeBE(UInt64(bitPattern: token) ^ (1 << 63))
        out.writeBE(UInt16(1))
        out.write(partition)
        return out.toArray()
    }

    static func writer(_ bytes: [UInt8]) -> ByteWriter {
        var out = ByteWriter()
        out.write(bytes)
        return out
    }

    /// Returns a mutation that sets column 0.
    static func put(_ key: [UInt8], _ value: Int64, at timestamp: Int64, table: UUID = VirtualCluster.table) -> [UInt8]
    {
        var mutation = MutationWriter()
        put(key, value, at: timestamp, table: table, into: &mutation)
        return mutation.out.toArray()
    }

    static func put(
        _ key: [UInt8], _ value: Int64, at timestamp: Int64, table: UUID = VirtualCluster.table,
        into mutation: inout MutationWriter
    ) {
        mutation.beginTable(table)
        mutation.beginRow(key: writer(key), timestamp: timestamp, liveness: true)
        withUnsafeBytes(of: value.bigEndian) { mutation.cell(column: 0, timestamp: timestamp, value: $0) }
        mutation.endRow()
        mutation.endTable()
    }

    static func deleteRow(_ key: [UInt8], at timestamp: Int64, local: UInt32) -> [UInt8] {
        var mutation = MutationWriter()
        mutation.beginTable(VirtualCluster.table)
        mutation.beginRow(
            key: writer(key), timestamp: .min, liveness: false,
            deletion: DeletionTime(timestamp: timestamp, localDeletion: local))
        mutation.endRow()
        mutation.endTable()
        return mutation.out.toArray()
    }

    static func deleteRange(_ start: [UInt8], _ end: [UInt8], at timestamp: Int64, local: UInt32) -> [UInt8] {
        var mutation = MutationWriter()
        mutation.beginTable(VirtualCluster.table)
        mutation.deleteRange(
            KeyRange(start: start, end: end), deletion: DeletionTime(timestamp: timestamp, localDeletion: local))
        mutation.endTable()
        return mutation.out.toArray()
    }

    /// Returns the value of column 0 of a row.
    static func value(_ row: RowView) -> Int64? {
        var cursor = row.cells
        while cursor.advance() {
            guard cursor.column == 0, !cursor.isTombstone, cursor.value.count == 8 else { continue }
            return Int64(bigEndian: cursor.value.loadUnaligned(as: Int64.self))
        }
        return nil
    }

    static func command(_ range: KeyRange, rows: Int = 100, reversed: Bool = false) -> ReadCommand {
        ReadCommand(
            table: VirtualCluster.table, range: range, reversed: reversed, rowLimit: rows, gcBefore: 0,
            now: UInt32(VirtualTime.epoch / 1_000_000))
    }

    static func one(_ key: [UInt8]) -> ReadCommand { command(KeyRange(start: key, end: key + [0])) }

    /// Returns column 0 of the first row in a read's answers.
    static func value(_ outcome: Outcome) -> Int64? {
        guard case .read(let answers) = outcome, let answer = answers.first else { return nil }
        return answer.operations.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            guard case .row(_, let row)? = try? MutationReader.operation(from: &reader) else { return nil }
            return value(RowView(row))
        }
    }
}

extension Result where Failure == ServerError {
    var error: ServerError? { if case .failure(let error) = self { error } else { nil } }
    var value: Success? { if case .success(let value) = self { value } else { nil } }
}
