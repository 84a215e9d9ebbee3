import DataModel
import Primitives

/// The rows of one computed table, encoded as on a replica.
struct VirtualRows {
    let table: TableMetadata
    private(set) var entries: [(key: [UInt8], row: [UInt8])] = []

    init(_ table: TableMetadata) { self.table = table }

    /// Adds a row.
    /// - Parameter values: native-protocol bytes by column name: all key columns, and the other columns that are not
    ///   null. Those that the table does not have are ignored.
    mutating func add(_ values: [String: [UInt8]]) {
        var key = ByteWriter(capacity: 64)
        KeyEncoding.beginPartition(into: &key)
        do throws(KeyError) {
            for column in table.partitionKey {
                (values[column.name] ?? []).withUnsafeBytes {
                    KeyEncoding.addPartitionComponent($0, isOnly: table.partitionKey.count == 1, into: &key)
                }
            }
            try KeyEncoding.endPartition(of: &key)
            KeyEncoding.beginRow(into: &key)
            for column in table.clustering {
                try (values[column.name] ?? []).withUnsafeBytesTyped { (raw) throws(KeyError) in
                    try KeyEncoding.addClusteringComponent(
                        raw, type: column.type, descending: column.isDescending, into: &key)
                }
            }
            entries.append((key.toArray(), try row(values)))
        } catch {
            preconditionFailure("a computed row of \(table.qualifiedName) is malformed: \(error)")
        }
    }

    private func row(_ values: [String: [UInt8]]) throws(KeyError) -> [UInt8] {
        var out = ByteWriter(capacity: 256)
        var writer = RowWriter()
        writer.begin(timestamp: 0, liveness: true, into: &out)
        var path = ByteWriter(capacity: 64)
        for column in table.regulars {
            guard let value = values[column.name] else { continue }
            switch column.type {
            case .set(let element):
                for part in parts(value, 1) {
                    path.removeAll()
                    try part.withUnsafeBytesTyped { (raw) throws(KeyError) in
                        try KeyEncoding.encodePath(raw, type: element, into: &path)
                    }
                    writer.cell(
                        column: column.id, path: path.bytes, timestamp: 0,
                        value: UnsafeRawBufferPointer(start: nil, count: 0), into: &out)
                }
            case .map(let keyType, _):
                let all = parts(value, 2)
                for index in stride(from: 0, to: all.count - 1, by: 2) {
                    path.removeAll()
                    try all[index].withUnsafeBytesTyped { (raw) throws(KeyError) in
                        try KeyEncoding.encodePath(raw, type: keyType, into: &path)
                    }
                    all[index + 1].withUnsafeBytes {
                        writer.cell(column: column.id, path: path.bytes, timestamp: 0, value: $0, into: &out)
                    }
                }
            default: value.withUnsafeBytes { writer.cell(column: column.id, timestamp: 0, value: $0, into: &out) }
            }
        }
        writer.end(into: &out)
        return out.toArray()
    }

    private func parts(_ collection: [UInt8], _ perElement: Int) -> [[UInt8]] {
        do throws(ServerError) { return try CollectionAccess.values(collection, perElement: perElement) } catch {
            preconditionFailure("a computed collection of \(table.qualifiedName) is malformed: \(error)")
        }
    }

    /// The rows in key order.
    func sorted() -> [(key: [UInt8], row: [UInt8])] { entries.sorted { compareBytes($0.key, $1.key) < 0 } }
}
