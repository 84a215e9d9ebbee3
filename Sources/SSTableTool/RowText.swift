import DataModel
import Primitives
import Storage

/// Formats keys and rows as JSON: by the table's schema if it is known, else in hexadecimal.
struct RowText {
    let table: TableMetadata?
    private let columns: [Int: ColumnMetadata]

    init(table: TableMetadata?) {
        self.table = table
        columns = Dictionary(
            (table.map { $0.statics + $0.regulars } ?? []).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    static func hex(_ bytes: UnsafeRawBufferPointer) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = [0x30, 0x78]
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func string(_ text: String, into out: inout ByteWriter) {
        Array(text.utf8).withUnsafeBytes { CQLType.appendJSONString($0, to: &out) }
    }

    /// Writes the key's columns, or its bytes when the table is unknown.
    func key(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
        let view = KeyView(bytes)
        out.write("\"token\":\(view.token),\"partition\":")
        guard let table,
            let ranges = try? KeyEncoding.partitionComponents(
                view.serializedPartitionKey, count: table.partitionKey.count)
        else {
            RowText.string(RowText.hex(view.serializedPartitionKey), into: &out)
            if view.isRow {
                out.write(",\"clustering\":")
                RowText.string(RowText.hex(view.clustering), into: &out)
            }
            return
        }
        out.write("{")
        for (index, column) in table.partitionKey.enumerated() {
            if index > 0 { out.write(",") }
            RowText.string(column.name, into: &out)
            out.write(":")
            column.type.appendJSON(
                UnsafeRawBufferPointer(rebasing: view.serializedPartitionKey[ranges[index]]), to: &out)
        }
        out.write("}")
        if view.isStatic { out.write(",\"static\":true") }
        guard view.isRow, !table.clustering.isEmpty else { return }
        out.write(",\"clustering\":{")
        var offset = 0
        for (index, column) in table.clustering.enumerated() where offset < view.clustering.count {
            var value = ByteWriter(capacity: 64)
            guard
                (try? KeyEncoding.nextClusteringComponent(
                    view.clustering, at: &offset, type: column.type, descending: column.isDescending, into: &value))
                    != nil
            else { break }  // the bound covers only a prefix of the clustering key
            if index > 0 { out.write(",") }
            RowText.string(column.name, into: &out)
            out.write(":")
            column.type.appendJSON(value.bytes, to: &out)
        }
        out.write("}")
    }

    func row(_ key: UnsafeRawBufferPointer, _ row: RowView, into out: inout ByteWriter) {
        out.write("{")
        self.key(key, into: &out)
        if row.hasLiveness {
            out.write(",\"timestamp\":\(row.livenessTimestamp)")
            if row.livenessTTL > 0 { out.write(",\"ttl\":\(row.livenessTTL),\"expires\":\(row.livenessExpires)") }
        }
        let deletion = row.deletion
        if !deletion.isNone {
            out.write(",\"deleted\":{\"timestamp\":\(deletion.timestamp),\"local\":\(deletion.localDeletion)}")
        }
        out.write(",\"cells\":[")
        var cursor = row.cells
        var isFirst = true
        while cursor.advance() {
            if !isFirst { out.write(",") }
            isFirst = false
            cell(cursor, into: &out)
        }
        out.write("]}")
    }

    private func cell(_ cell: CellCursor, into out: inout ByteWriter) {
        let column = columns[cell.column]
        out.write("{\"column\":")
        RowText.string(column?.name ?? "#\(cell.column)", into: &out)
        let (path, value) = types(column?.type)
        if cell.flags.contains(.hasPath) {
            out.write(",\"path\":")
            var decoded = ByteWriter(capacity: 64)
            if let path, (try? KeyEncoding.decodePath(cell.path, type: path, into: &decoded)) != nil {
                path.appendJSON(decoded.bytes, to: &out)
            } else {
                RowText.string(RowText.hex(cell.path), into: &out)
            }
        }
        out.write(",\"timestamp\":\(cell.timestamp)")
        if cell.isComplexDeletion {
            out.write(",\"collection_deleted\":\(cell.localDeletion)}")
            return
        }
        if cell.isTombstone {
            out.write(",\"deleted\":\(cell.localDeletion)}")
            return
        }
        if cell.isExpiring { out.write(",\"ttl\":\(cell.ttl),\"expires\":\(cell.localDeletion)") }
        out.write(",\"value\":")
        if cell.flags.contains(.counter) {
            out.write("\(CounterValue.total(cell.value))")
        } else if let value {
            value.appendJSON(cell.value, to: &out)
        } else {
            RowText.string(RowText.hex(cell.value), into: &out)
        }
        out.write("}")
    }

    /// Returns the types of a cell's path and value.
    private func types(_ type: CQLType?) -> (CQLType?, CQLType?) {
        switch type {
        case .list(let element): (.timeuuid, element)
        case .set(let element): (element, .blob)
        case .map(let key, let value): (key, value)
        default: (nil, type)
        }
    }

    func tombstone(_ tombstone: RangeTombstone, into out: inout ByteWriter) {
        out.write("{\"range_tombstone\":{\"start\":{")
        tombstone.start.withUnsafeBytes { key($0, into: &out) }
        out.write("},\"end\":")
        tombstone.end.withUnsafeBytes { RowText.string(RowText.hex($0), into: &out) }
        out.write(",\"timestamp\":\(tombstone.deletion.timestamp),\"local\":\(tombstone.deletion.localDeletion)}}")
    }
}
