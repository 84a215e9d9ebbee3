import DataModel
import Platform
import Primitives
import Storage

/// Inspects and merges sstables without a running server.
public struct SSTableTool {
    private let system: any FileSystem
    private let time: any TimeSource
    private let directory: DataDirectory
    private let json: Bool
    private let write: (String) -> Void

    /// - Parameters:
    ///   - json: whether to write one JSON object per line instead of text.
    ///   - write: called with each line of output, without a line end.
    public init(system: any FileSystem, time: any TimeSource, json: Bool, write: @escaping (String) -> Void) {
        self.system = system
        self.time = time
        self.json = json
        self.write = write
        directory = DataDirectory(system: system)
    }

    private func object(_ fields: [(String, String)]) -> String {
        "{" + fields.map { quoted($0.0) + ":" + $0.1 }.joined(separator: ",") + "}"
    }

    private func quoted(_ text: String) -> String {
        var out = ByteWriter(capacity: text.utf8.count + 8)
        Array(text.utf8).withUnsafeBytes { CQLType.appendJSONString($0, to: &out) }
        return String(decoding: out.bytes, as: UTF8.self)
    }

    /// Writes fields as one JSON object, or as aligned lines.
    private func report(_ fields: [(String, String)]) {
        if json {
            write(object(fields))
            return
        }
        let width = fields.map(\.0.count).max() ?? 0
        for (name, value) in fields { write(name + String(repeating: " ", count: width - name.count + 2) + value) }
    }

    /// Lists sstables, one line each.
    public func list(_ path: String) throws {
        var rows: [[String]] = []
        for file in try directory.files(path) {
            let table = try OfflineTables(system: system).open(file)
            let statistics = table.statistics
            let name = directory.table(of: file)?.qualifiedName ?? ""
            if json {
                write(
                    object([
                        ("path", quoted(file)), ("table", quoted(name)), ("bytes", "\(table.fileBytes)"),
                        ("rows", "\(statistics.rowCount)"),
                        ("partitions", "\(statistics.partitionCount)"), ("min_timestamp", "\(statistics.minTimestamp)"),
                        ("max_timestamp", "\(statistics.maxTimestamp)"),
                    ]))
            } else {
                rows.append([
                    file, name, "\(table.fileBytes)", "\(statistics.rowCount)", "\(statistics.partitionCount)",
                ])
            }
        }
        if json { return }
        let all = [["file", "table", "bytes", "rows", "partitions"]] + rows
        let widths = (0..<5).map { column in all.map { $0[column].count }.max() ?? 0 }
        for row in all {
            write(
                zip(row, widths).enumerated().map { index, cell in
                    let pad = String(repeating: " ", count: cell.1 - cell.0.count)
                    return index < 2 ? cell.0 + pad : pad + cell.0
                }.joined(separator: "  "))
        }
    }

    /// Writes all metadata of sstables.
    public func describe(_ path: String) throws {
        for file in try directory.files(path) {
            let table = try OfflineTables(system: system).open(file)
            let s = table.statistics
            func hex(_ bytes: [UInt8]) -> String { quoted(bytes.withUnsafeBytes { RowText.hex($0) }) }
            let histogram = "[" + s.droppable.map { "[\($0.hour),\($0.count)]" }.joined(separator: ",") + "]"
            report([
                ("path", quoted(file)), ("table", quoted(directory.table(of: file)?.qualifiedName ?? "unknown")),
                ("format", "\(table.version)"),
                ("bytes", "\(table.fileBytes)"), ("raw_bytes", "\(s.rawBytes)"), ("codec", quoted(s.codec)),
                ("data_blocks", "\(s.dataBlockCount)"),
                ("partitions", "\(s.partitionCount)"), ("rows", "\(s.rowCount)"), ("cells", "\(s.cellCount)"),
                ("tombstones", "\(s.tombstoneCount)"),
                ("range_tombstones", "\(s.rangeTombstoneCount)"), ("expiring", "\(s.expiringCount)"),
                ("first_key", hex(s.firstKey)),
                ("last_key", hex(s.lastKey)), ("min_clustering", hex(s.minClustering)),
                ("max_clustering", hex(s.maxClustering)),
                ("min_token", "\(s.firstKey.withUnsafeBytes { KeyView($0).token })"),
                ("max_token", "\(s.lastKey.withUnsafeBytes { KeyView($0).token })"),
                ("min_timestamp", "\(s.minTimestamp)"), ("max_timestamp", "\(s.maxTimestamp)"),
                ("min_ttl", s.maxTTL == 0 ? "0" : "\(s.minTTL)"),
                ("max_ttl", "\(s.maxTTL)"), ("largest_partition_bytes", "\(s.largestPartitionBytes)"),
                ("bloom_fp_asked", "\(s.filterRateRequested)"),
                ("bloom_fp_reached", "\(s.filterRateReached)"), ("droppable_by_hour", histogram),
                ("created_at", "\(s.createdAt)"),
                ("merged_from", "\(s.sources)"),
            ])
        }
    }

    /// Writes the rows of sstables, always as one JSON object per line.
    /// - Parameter limit: the greatest number of rows.
    public func dump(_ path: String, limit: Int) throws {
        var left = limit
        for file in try directory.files(path) {
            let text = RowText(table: directory.table(of: file))
            let table = try OfflineTables(system: system).open(file)
            var out = ByteWriter(capacity: 4096)
            func flush() {
                write(String(decoding: out.bytes, as: UTF8.self))
                out.removeAll()
            }
            try OfflineTables(system: system).dump(table) { tombstone in
                text.tombstone(tombstone, into: &out)
                flush()
            } row: { key, row in
                guard left > 0 else { return false }
                left -= 1
                text.row(key, row, into: &out)
                flush()
                return true
            }
        }
    }

    /// Checks every byte of sstables; returns false when any is damaged.
    public func verify(_ path: String) throws -> Bool {
        var isGood = true
        for file in try directory.files(path) {
            let report = try SSTableVerifier(system: system, path: file).verify()
            isGood = isGood && report.isGood
            if json {
                let problems = report.problems.map {
                    object([("place", quoted($0.place)), ("offset", "\($0.offset)"), ("message", quoted($0.message))])
                }
                write(
                    object([
                        ("path", quoted(file)), ("good", report.isGood ? "true" : "false"),
                        ("data_blocks", "\(report.dataBlocks)"),
                        ("rows", "\(report.rows)"), ("bytes", "\(report.fileBytes)"),
                        ("problems", "[" + problems.joined(separator: ",") + "]"),
                    ]))
            } else if report.isGood {
                write("\(file): good, \(report.rows) rows in \(report.dataBlocks) blocks, \(report.fileBytes) bytes")
            } else {
                for problem in report.problems {
                    write("\(file): DAMAGED: \(problem.place) at byte \(problem.offset): \(problem.message)")
                }
            }
        }
        return isGood
    }

    /// Merges the sstables of each table at or below a path into one. The node must be stopped, and the caller must
    /// hold the lock of its data directory.
    public func compact(_ path: String) throws {
        for one in try directory.tableDirectories(path) {
            let table = directory.table(of: one)
            let options = table.map { TableStoreOptions($0.options) } ?? TableStoreOptions()
            let result = try OfflineTables(system: system).compact(
                directory: one, id: table?.id ?? UUID(high: 0, low: 0), options: options, time: time)
            report([
                ("table", quoted(table?.qualifiedName ?? one)), ("files_before", "\(result.files)"),
                ("bytes_before", "\(result.before)"),
                ("bytes_after", "\(result.after)"),
            ])
        }
    }
}
