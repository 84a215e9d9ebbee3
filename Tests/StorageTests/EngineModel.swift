import DataModel
import Platform
import Primitives

@testable import Storage

/// A simple model of one table: what the engine must return.
struct EngineModel {
    struct Entry: Equatable {
        var timestamp: Int64
        var value: [UInt8]
    }
    struct RangeDelete {
        var range: KeyRange
        var timestamp: Int64
    }

    var cells: [[UInt8]: Entry] = [:]
    var deletes: [RangeDelete] = []

    mutating func put(_ key: [UInt8], _ timestamp: Int64, _ value: [UInt8]) {
        if let old = cells[key],
            old.timestamp > timestamp || (old.timestamp == timestamp && compareBytes(old.value, value) >= 0)
        {
            return
        }
        cells[key] = Entry(timestamp: timestamp, value: value)
    }

    func visible() -> [(key: [UInt8], value: [UInt8])] {
        cells.filter { key, entry in
            !deletes.contains { delete in
                entry.timestamp <= delete.timestamp && compareBytes(delete.range.start, key) <= 0
                    && compareBytes(key, delete.range.end) < 0
            }
        }.map { ($0.key, $0.value.value) }.sorted { compareBytes($0.0, $1.0) < 0 }
    }
}

/// Builds keys and mutations of a table with one partition key column, one clustering column and one cell.
enum Sample {
    static let table = UUID(high: 1, low: 2)

    static func partition(_ number: Int) -> [UInt8] {
        var key = ByteWriter()
        KeyEncoding.beginPartition(into: &key)
        withUnsafeBytes(of: UInt32(number).bigEndian) {
            KeyEncoding.addPartitionComponent($0, isOnly: true, into: &key)
        }
        do { try KeyEncoding.endPartition(of: &key) } catch { fatalError("\(error)") }
        return key.toArray()
    }

    static func key(_ number: Int, _ row: Int) -> [UInt8] {
        var key = ByteWriter()
        key.write(partition(number))
        KeyEncoding.beginRow(into: &key)
        do {
            try withUnsafeBytes(of: UInt32(row).bigEndian) { bytes in
                Result { try KeyEncoding.addClusteringComponent(bytes, type: .int, descending: false, into: &key) }
            }.get()
        } catch { fatalError("\(error)") }
        return key.toArray()
    }

    static func put(_ key: [UInt8], _ timestamp: Int64, _ value: [UInt8], into writer: inout MutationWriter) {
        var bytes = ByteWriter()
        bytes.write(key)
        writer.beginTable(table)
        writer.beginRow(key: bytes, timestamp: timestamp, liveness: false)
        value.withUnsafeBytes { writer.cell(column: 0, timestamp: timestamp, value: $0) }
        writer.endRow()
        writer.endTable()
    }

    static func delete(_ range: KeyRange, _ timestamp: Int64, _ local: UInt32, into writer: inout MutationWriter) {
        writer.beginTable(table)
        writer.deleteRange(range, deletion: DeletionTime(timestamp: timestamp, localDeletion: local))
        writer.endTable()
    }

    static func value(_ row: RowView) -> [UInt8]? {
        var cursor = row.cells
        return cursor.advance() && !cursor.isTombstone ? [UInt8](cursor.value) : nil
    }
}
