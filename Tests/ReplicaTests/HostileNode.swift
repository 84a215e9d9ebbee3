import DataModel
import Messages
import Platform
import Primitives
import Replica
import Storage
import Synchronization
import Testing

/// A node on a file system in memory, for requests of an enemy.
final class HostileNode {
    static let table = UUID(high: 1, low: 2)
    static let id = UUID(high: 3, low: 4)

    let system: MemoryFileSystem
    let time = ManualTime()
    private(set) var engine: StorageEngine
    private(set) var service: ReplicaService
    private(set) var report: ReplayReport
    let failures = Failures()

    final class Failures: Sendable {
        private let texts = Mutex<[String]>([])
        var all: [String] { texts.withLock { $0 } }
        func add(_ text: String) { texts.withLock { $0.append(text) } }
    }

    init(_ system: MemoryFileSystem = MemoryFileSystem()) throws {
        self.system = system
        (engine, service, report) = try HostileNode.open(system, time, failures)
    }

    private static func open(
        _ system: MemoryFileSystem, _ time: ManualTime, _ failures: Failures
    ) throws -> (StorageEngine, ReplicaService, ReplayReport) {
        var options = StorageOptions()
        options.shards = 4
        options.log.segmentBytes = 256 << 10
        let engine = try StorageEngine(
            system: system, time: time, background: InlineBackground(), directory: "db", options: options,
            observer: { if case .failed(let text) = $0 { failures.add(text) } })
        var table = TableStoreOptions()
        table.files.blockBytes = 512
        try engine.openTable(HostileNode.table, name: "ks/t", options: table)
        try PaxosAcceptor.open(engine)
        try BatchLog.open(engine)
        let report = try engine.start()
        return (engine, ReplicaService(replica: LocalReplica(engine: engine, node: id)), report)
    }

    /// Ends the process without a flush of the memtables, and starts again.
    func restart() throws {
        try engine.flushLog()
        (engine, service, report) = try HostileNode.open(system, time, failures)
    }

    var store: TableStore {
        get throws { try #require(engine.table(HostileNode.table)) }
    }

    func rows() throws -> Int {
        var count = 0
        try store.scan(.all, reversed: false) { _, _ in
            count += 1
            return true
        }
        return count
    }

    /// Decodes a request as a connection does, and executes it.
    @discardableResult func receive(_ bytes: [UInt8]) throws -> PeerReply {
        let request = try HostileNode.request(bytes)
        return service.writeAtOnce(request) ? .done : service.execute(request).reply
    }

    static func request(_ bytes: [UInt8]) throws(ByteError) -> PeerRequest {
        try bytes.withReader { (reader) throws(ByteError) in try PeerRequest(from: &reader) }
    }

    static func reply(_ bytes: [UInt8]) throws(ByteError) -> PeerReply {
        try bytes.withReader { (reader) throws(ByteError) in try PeerReply(from: &reader) }
    }

    static func bytes(_ request: PeerRequest) -> [UInt8] {
        var out = ByteWriter()
        request.encode(into: &out)
        return out.toArray()
    }

    static func bytes(_ reply: PeerReply) -> [UInt8] {
        var out = ByteWriter()
        reply.encode(into: &out)
        return out.toArray()
    }

    // MARK: Samples

    static func partition(_ name: UInt8) -> [UInt8] {
        var key = ByteWriter()
        KeyEncoding.beginPartition(into: &key)
        key.write(name)
        do { try KeyEncoding.endPartition(of: &key) } catch { fatalError("\(error)") }
        return key.toArray()
    }

    static func key(_ name: UInt8, _ row: UInt8) -> [UInt8] { partition(name) + [KeyView.rowKind, row] }

    static func mutation(table: UUID = table, _ body: (inout MutationWriter) -> Void) -> [UInt8] {
        var out = MutationWriter()
        out.beginTable(table)
        body(&out)
        out.endTable()
        return out.out.toArray()
    }

    static func put(_ key: [UInt8], at timestamp: Int64 = 10, value: [UInt8] = [1, 2, 3]) -> [UInt8] {
        mutation { out in
            var bytes = ByteWriter()
            bytes.write(key)
            out.beginRow(key: bytes, timestamp: timestamp, liveness: true)
            value.withUnsafeBytes { out.cell(column: 0, timestamp: timestamp, value: $0) }
            out.endRow()
        }
    }

    static func delete(_ start: [UInt8], _ end: [UInt8], at timestamp: Int64 = 20, local: UInt32 = 5) -> [UInt8] {
        mutation {
            $0.deleteRange(
                KeyRange(start: start, end: end), deletion: DeletionTime(timestamp: timestamp, localDeletion: local))
        }
    }

    /// Returns a mutation with a row in these very bytes.
    static func raw(_ key: [UInt8], _ row: [UInt8], table: UUID = table) -> [UInt8] {
        mutation(table: table) { out in
            key.withUnsafeBytes { key in row.withUnsafeBytes { out.row(key: key, encoded: $0) } }
        }
    }
}
