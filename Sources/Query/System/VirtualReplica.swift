import Coordinator
import DataModel
import Messages
import Primitives
import Synchronization

/// Answers reads of the system tables with computed rows, so that they run through the same SELECT code as all others.
///
/// **Thread safety**: any thread.
final class VirtualReplica: ReplicaPort {
    private let nodeState: Mutex<NodeInfo>
    private let traces: TraceStore
    private let schema = Mutex(Schema())

    init(node: NodeInfo, traces: TraceStore) {
        nodeState = Mutex(node)
        self.traces = traces
    }

    var node: NodeInfo { nodeState.withLock { $0 } }

    func update(_ change: (inout NodeInfo) -> Void) { nodeState.withLock { change(&$0) } }

    /// Sets the schema that the system tables describe.
    func show(_ schema: Schema) { self.schema.withLock { $0 = schema } }

    private func rows(of id: UUID) throws(ReplicaError) -> [(key: [UInt8], row: [UInt8])] {
        let schema = self.schema.withLock { $0 }
        guard let table = schema.tables[id], table.isVirtual else { throw .unknownTable(id) }
        return SystemRows(schema: schema, node: node, traces: traces).rows(of: table).sorted()
    }

    func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        let all = try rows(of: table)
        for entry in reversed ? all.reversed() : all {
            let step = entry.key.withUnsafeBytes { key in
                range.contains(key) ? entry.row.withUnsafeBytes { visit(key, RowView($0)) } : .next
            }
            if step == .stop { return }
        }
    }

    func get(table: UUID, key: borrowing ByteWriter, _ visit: (_ row: RowView) -> Void) throws(ReplicaError) {
        let wanted = key.toArray()
        for entry in try rows(of: table) where entry.key == wanted {
            entry.row.withUnsafeBytes { visit(RowView($0)) }
        }
    }

    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        throw .storage("a computed table cannot be written")
    }

    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        throw .storage("a computed table cannot be written")
    }

    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError) {
        _ = body()
    }
}
