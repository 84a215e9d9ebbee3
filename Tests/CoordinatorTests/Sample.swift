import DataModel
import Messages
import Primitives
import VirtualCluster

@testable import Cluster
@testable import Coordinator

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
        let answer: ReadAnswer
        switch outcome {
        case .stretch(let one): answer = one
        case .read(let answers):
            guard let first = answers.first else { return nil }
            answer = first
        default: return nil
        }
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
