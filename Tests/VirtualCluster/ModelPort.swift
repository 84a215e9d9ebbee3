import Coordinator
import DataModel
import Messages
import Primitives

/// A model replica as the local port of its node.
///
/// SAFETY: `@unchecked` because a virtual cluster runs on one thread.
package final class ModelPort: ReplicaPort, @unchecked Sendable {
    private let node: VirtualNode

    package init(_ node: VirtualNode) { self.node = node }

    package func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        node.replica.apply(mutations.out.toArray())
    }
    package func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {}
    package func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool)
        throws(ReplicaError)
    {
        _ = body()
    }

    package func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError) {
        for (key, row) in node.replica.rows(table, range, reversed: reversed) {
            let step = key.withUnsafeBytes { key in row.withUnsafeBytes { visit(key, RowView($0)) } }
            if step == .stop { return }
        }
    }

    package func get(table: UUID, key: borrowing ByteWriter, _ visit: (_ row: RowView) -> Void) throws(ReplicaError) {
        let bytes = key.toArray()
        for (_, row) in node.replica.rows(table, KeyRange(start: bytes, end: bytes + [0])) {
            row.withUnsafeBytes { visit(RowView($0)) }
        }
    }
}
