import CQL
import DataModel
import Primitives

/// Answers DESCRIBE with the rows that cqlsh prints.
struct DescribeExecutor {
    let schema: Schema
    let node: NodeInfo

    func run(_ plan: DescribePlan) throws(ServerError) -> ResultRows {
        let (names, rows) = try plan.answer(
            schema: schema, clusterName: node.clusterName, partitioner: "Murmur3Partitioner", snitch: node.snitch)
        var columns: [(name: String, type: CQLType)] = names.map { ($0, .text) }
        var cells = ByteWriter(capacity: 4096)
        for row in rows { for cell in row { write(NativeValue.text(cell), &cells) } }
        if case .cluster = plan.subject, let keyspace = plan.keyspaceInUse, !Schema.isSystem(keyspace) {
            columns.append(("range_ownership", .map(.text, .list(.text))))
            let owners = NativeValue.texts([node.address])
            write(
                NativeValue.collection(
                    node.tokens.sorted().flatMap { [NativeValue.text("\($0)"), owners] }, valuesPerElement: 2), &cells)
        }
        return ResultRows(
            metadata: ResultMetadata(
                columns: columns.map { ColumnSpec(keyspace: "system", table: "describe", name: $0.name, type: $0.type) }
            ), rowCount: rows.count, cells: cells.toArray())
    }

    private func write(_ value: [UInt8], _ cells: inout ByteWriter) {
        cells.writeBE(Int32(value.count))
        cells.write(value)
    }
}
