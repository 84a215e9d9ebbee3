import DataModel
import Messages
import ModelReplica
import Primitives

/// Builds keys and mutations of a table.
enum Sample {
    static let table = UUID(high: 0x7461_626c, low: 1)
    static let other = UUID(high: 0x7461_626c, low: 2)
    /// The current time of all tests, in seconds since 1970.
    static let now: UInt32 = 1_700_000_000

    static func node(_ index: Int) -> UUID { UUID(high: 0xc0de, low: UInt64(index + 1)) }

    static func partition(_ token: Int64, _ name: UInt8 = 0) -> [UInt8] {
        var out = ByteWriter()
        out.writeBE(UInt64(bitPattern: token) ^ (1 << 63))
        out.writeBE(UInt16(1))
        out.write(name)
        return out.toArray()
    }

    static func key(_ token: Int64, _ clustering: [UInt8] = [1]) -> [UInt8] {
        partition(token) + [KeyView.rowKind] + clustering
    }

    static func writer(_ bytes: [UInt8]) -> ByteWriter {
        var out = ByteWriter()
        out.write(bytes)
        return out
    }

    /// Returns one mutation.
    static func mutation(table: UUID = table, _ body: (inout MutationWriter) -> Void) -> [UInt8] {
        var out = MutationWriter()
        out.beginTable(table)
        body(&out)
        out.endTable()
        return out.out.toArray()
    }

    /// Returns a mutation of one row.
    static func row(
        _ key: [UInt8], at timestamp: Int64 = 10, liveness: Bool = true, ttl: UInt32 = 0, expires: UInt32 = .max,
        deletion: DeletionTime = .none, table: UUID = table, _ cells: (inout MutationWriter) -> Void = { _ in }
    ) -> [UInt8] {
        mutation(table: table) { out in
            out.beginRow(
                key: writer(key), timestamp: timestamp, liveness: liveness, ttl: ttl, expires: expires,
                deletion: deletion)
            cells(&out)
            out.endRow()
        }
    }

    static func put(_ key: [UInt8], _ value: [UInt8], at timestamp: Int64 = 10, table: UUID = table) -> [UInt8] {
        row(key, at: timestamp, table: table) { out in
            value.withUnsafeBytes { out.cell(column: 0, timestamp: timestamp, value: $0) }
        }
    }

    static func deleteRange(_ start: [UInt8], _ end: [UInt8], at timestamp: Int64, local: UInt32 = now) -> [UInt8] {
        mutation {
            $0.deleteRange(
                KeyRange(start: start, end: end), deletion: DeletionTime(timestamp: timestamp, localDeletion: local))
        }
    }

    static func shard(_ node: Int, clock: Int64, count: Int64) -> [UInt8] {
        var out = ByteWriter()
        out.write(Sample.node(node))
        out.writeBE(clock)
        out.writeBE(count)
        return out.toArray()
    }

    /// Returns a random change to one of `tokens`: rows with and without liveness; plain, expiring and deleted cells;
    /// collections; counters; deletions of rows, slices and partitions. Later steps have later timestamps.
    static func random(_ random: inout SeededRandom, tokens: [Int64], step: Int, table: UUID = table) -> [UInt8] {
        let token = tokens[Int(random.next() % UInt64(tokens.count))]
        let key = key(token, [UInt8(random.next() % 6)])
        let ttl: UInt32 = random.next() % 5 == 0 ? 10 : 0
        let timestamp = Int64(step * 3 + 1)
        let deletion = DeletionTime(timestamp: timestamp, localDeletion: now - 1000 + UInt32(step))
        switch random.next() % 12 {
        case 0:
            return mutation(table: table) { $0.deleteRange(.prefix(partition(token)), deletion: deletion) }
        case 1:
            let range = KeyRange(start: key, end: Sample.key(token, [UInt8(random.next() % 6) + 1]))
            return mutation(table: table) { if !range.isEmpty { $0.deleteRange(range, deletion: deletion) } }
        case 2: return row(key, at: .min, liveness: false, deletion: deletion, table: table)
        case 3:
            let value = shard(Int(random.next() % 3), clock: Int64(step), count: Int64(random.next() % 100))
            return row(key, at: timestamp, liveness: false, table: table) { out in
                value.withUnsafeBytes { out.cell(column: 9, timestamp: timestamp, value: $0, isCounter: true) }
            }
        default:
            let expires = ttl == 0 ? UInt32.max : now - 5 + UInt32(random.next() % 10)
            let hasLiveness = random.next() % 2 == 0
            let choices = random.next()
            return row(key, at: timestamp, liveness: hasLiveness, ttl: ttl, expires: expires, table: table) { out in
                for column in 0..<3 where choices >> UInt64(column) & 1 == 0 {
                    let value = [UInt8](repeating: UInt8(choices >> 8 & 0xff), count: Int(choices >> 16 & 31))
                    if choices >> UInt64(24 + column) & 3 == 0 {
                        out.tombstone(column: column, deletion: deletion)
                    } else {
                        value.withUnsafeBytes {
                            out.cell(column: column, timestamp: timestamp, ttl: ttl, expires: expires, value: $0)
                        }
                    }
                }
                if choices >> 30 & 3 == 0 { out.complexDeletion(column: 5, deletion: deletion) }
                if choices >> 32 & 1 == 0 {
                    let path = [UInt8(choices >> 33 & 3)]
                    path.withUnsafeBytes { path in
                        if choices >> 36 & 3 == 0 {
                            out.tombstone(column: 5, path: path, deletion: deletion)
                        } else {
                            out.cell(column: 5, path: path, timestamp: timestamp + 1, value: path)
                        }
                    }
                }
            }
        }
    }
}

extension ModelReplica {
    /// Returns the contents of a table in a canonical form: equal contents give equal texts.
    func contents(_ table: UUID = Sample.table, gcBefore: UInt32 = 0) -> [String] {
        let answer = answer(
            ReadCommand(table: table, range: .all, rowLimit: .max, byteLimit: .max, gcBefore: gcBefore, now: Sample.now)
        )
        return answer.operations.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            var lines: [String] = []
            do {
                while let operation = try MutationReader.operation(from: &reader) {
                    switch operation {
                    case .row(let key, let row): lines.append("\([UInt8](key)) \(ModelReplica.meaning(RowView(row)))")
                    case .deleteRange(let start, let end, let deletion):
                        lines.append("\([UInt8](start)) \([UInt8](end)) \(deletion)")
                    }
                }
            } catch { lines.append("\(error)") }
            return lines
        }
    }

    private static func meaning(_ row: RowView) -> String {
        var text = "live \(row.livenessTimestamp) \(row.livenessTTL) \(row.livenessExpires) deleted \(row.deletion)"
        var cursor = row.cells
        while cursor.advance() {
            text += " [\(cursor.column) \(cursor.flags.subtracting(.sameTimestamp)) \(cursor.timestamp) \(cursor.ttl)"
            text += " \(cursor.localDeletion) \([UInt8](cursor.path)) \([UInt8](cursor.value))]"
        }
        return text
    }
}
