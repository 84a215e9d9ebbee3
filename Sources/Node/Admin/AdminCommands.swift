import DataModel
import Primitives
import Query
import Storage

/// The reason why an admin command was refused.
struct AdminError: Error {
    var status: Int
    var message: String
}

/// The commands that `auspex admin` and other HTTP clients may send to a running node.
///
/// Commands that change something need POST. All run on a background thread (`BackgroundKind.control`), so they may
/// wait.
struct AdminCommands: Sendable {
    let node: NodeServer

    static let names = [
        "status", "info", "tablestats", "compactionstats", "flush", "compact", "drain", "snapshot", "listsnapshots",
        "clearsnapshot",
        "import", "ring", "gossipinfo", "failuredetector", "listhints", "decommission", "removenode", "repair",
    ]
    static let changing: Set<String> = [
        "flush", "compact", "drain", "snapshot", "clearsnapshot", "import", "decommission", "removenode", "repair",
    ]

    func run(_ command: String, _ arguments: [String: String]) throws -> AdminValue {
        switch command {
        case "status": return status()
        case "info": return info()
        case "ring": return try ring(arguments)
        case "gossipinfo": return gossipInfo()
        case "failuredetector": return failureDetector()
        case "listhints": return hints()
        case "decommission": return try decommission()
        case "repair": return try repair(arguments)
        case "removenode": return try removeNode(arguments)
        case "tablestats": return try tableStatistics(arguments)
        case "compactionstats": return compactionStatistics()
        case "flush":
            let tables = try chosen(arguments)
            for (_, store) in tables { try node.storage.flush(store) }
            return .object([("flushed", .int(tables.count))])
        case "compact":
            let tables = try chosen(arguments)
            for (_, store) in tables { try node.storage.compactAll(store) }
            return .object([("compacted", .int(tables.count))])
        case "drain":
            node.drain()
            return .object([("drained", .bool(true))])
        case "snapshot": return try snapshot(arguments)
        case "import": return try importTables(arguments)
        case "listsnapshots": return try snapshots(arguments)
        case "clearsnapshot":
            var cleared = 0
            for (_, snapshot) in try chosenSnapshots(arguments)
            where arguments["name"].map({ $0 == snapshot.name }) ?? true {
                try node.storage.clear(snapshot)
                cleared += 1
            }
            return .object([("cleared", .int(cleared))])
        default:
            throw AdminError(
                status: 404,
                message: "no command is named \(command); there are \(AdminCommands.names.joined(separator: ", "))")
        }
    }

    private var userTables: [(TableMetadata, TableStore)] {
        var found: [(TableMetadata, TableStore)] = []
        for keyspace in node.queries.schema.sortedKeyspaces {
            for table in keyspace.tables.values.sorted(by: { $0.name < $1.name }) where !table.isVirtual {
                if let store = node.storage.table(table.id) { found.append((table, store)) }
            }
        }
        return found
    }

    /// The tables selected by `keyspace` and `table`; all tables without them.
    private func chosen(_ arguments: [String: String]) throws -> [(TableMetadata, TableStore)] {
        let keyspace = arguments["keyspace"]
        let table = arguments["table"]
        let found = userTables.filter {
            (keyspace == nil || $0.0.keyspace == keyspace) && (table == nil || $0.0.name == table)
        }
        if found.isEmpty && (keyspace != nil || table != nil) {
            throw AdminError(status: 404, message: "no table matches keyspace=\(keyspace ?? "*") table=\(table ?? "*")")
        }
        return found
    }

    private func info() -> AdminValue {
        let cache = node.storage.cache.counts()
        let services = node.services
        let uptime = Int((services.time.monotonicNanoseconds() - services.startedNanoseconds) / 1_000_000_000)
        let prepared = node.queries.preparedCounts
        return .object([
            ("host_id", .string(node.hostID.description)), ("release_version", .string(NodeInfo.releaseVersion)),
            ("uptime_seconds", .int(uptime)), ("data_directory", .string(node.configuration.dataDirectory)),
            ("native_port", .int(node.ports.native)), ("line_port", .int(node.ports.line)),
            ("http_port", .int(node.ports.http)),
            ("resident_bytes", .int(ProcessMemory.residentBytes())),
            ("memtable_bytes", .int(node.storage.memtableBytes)),
            ("memtable_space", .int(node.storage.options.memtableBytes)), ("cache_bytes", .int(cache.bytes)),
            ("cache_space", .int(node.storage.options.cacheBytes)), ("cache_hits", .int(cache.hits)),
            ("cache_misses", .int(cache.misses)),
            ("commitlog_bytes", .int(node.storage.log?.totalBytes ?? 0)),
            ("connections", .int(services.counters.connections.load(ordering: .relaxed))),
            ("requests", .int(services.runner.requests.sum)),
            ("requests_waiting", .int(services.runner.admission.waiting)),
            ("requests_failed", .int(services.runner.failures.sum)),
            ("prepared_statements", .int(prepared.kept)), ("prepared_statements_forgotten", .int(prepared.forgotten)),
        ])
    }

    private func tableStatistics(_ arguments: [String: String]) throws -> AdminValue {
        .array(
            try chosen(arguments).map { table, store in
                let files = store.tables
                func sum(_ value: (SSTableStatistics) -> Int) -> Int { files.reduce(0) { $0 + value($1.statistics) } }
                let positives = files.reduce(0) { $0 + $1.falsePositives }
                return .object([
                    ("keyspace", .string(table.keyspace)), ("table", .string(table.name)),
                    ("sstables", .int(files.count)),
                    ("bytes", .int(files.reduce(0) { $0 + $1.fileBytes })), ("raw_bytes", .int(sum(\.rawBytes))),
                    ("partitions_estimate", .int(sum(\.partitionCount))), ("rows_estimate", .int(sum(\.rowCount))),
                    ("tombstones", .int(sum(\.tombstoneCount) + sum(\.rangeTombstoneCount))),
                    ("largest_partition_bytes", .int(files.map(\.statistics.largestPartitionBytes).max() ?? 0)),
                    ("memtable_bytes", .int(store.memtableBytes)),
                    ("writes", .int(store.writeCount.load(ordering: .relaxed))),
                    ("reads", .int(store.readCount.load(ordering: .relaxed))),
                    ("flushes", .int(store.flushCount.load(ordering: .relaxed))),
                    ("compactions", .int(store.compactionCount.load(ordering: .relaxed))),
                    ("bloom_filter_false_positives", .int(positives)),
                ])
            })
    }

    private func compactionStatistics() -> AdminValue {
        let all = node.storage.compactions()
        return .object([
            ("completed", .int(all.completed)), ("bytes_read", .int(all.bytesRead)),
            ("bytes_written", .int(all.bytesWritten)),
            (
                "running",
                .array(
                    all.running.map {
                        .object([
                            ("directory", .string($0.directory)), ("reason", .string($0.reason)),
                            ("inputs", .int($0.inputs)),
                            ("input_bytes", .int($0.inputBytes)), ("done_bytes", .int($0.doneBytes)),
                        ])
                    })
            ),
        ])
    }

    private func snapshot(_ arguments: [String: String]) throws -> AdminValue {
        let name = arguments["name"] ?? "\(services(\.time).wallMicroseconds() / 1000)"
        guard !name.isEmpty, name.utf8.allSatisfy({ $0 != 0x2f && $0 != 0 }), name != ".", name != ".." else {
            throw AdminError(status: 400, message: "a snapshot's name cannot be \(name)")
        }
        let tables = try chosen(arguments)
        let schema = node.queries.schema
        for (table, store) in tables {
            try node.storage.snapshot(
                store, name: name, definition: schema.keyspace(table.keyspace).map { ($0, table) })
        }
        return .object([("name", .string(name)), ("tables", .int(tables.count))])
    }

    private func services<T>(_ path: KeyPath<NodeServices, T>) -> T { node.services[keyPath: path] }

    private func snapshots(_ arguments: [String: String]) throws -> AdminValue {
        .array(
            try chosenSnapshots(arguments).map { table, snapshot in
                .object([
                    ("name", .string(snapshot.name)), ("keyspace", .string(table.keyspace)),
                    ("table", .string(table.name)),
                    ("bytes", .int(snapshot.bytes)), ("directory", .string(snapshot.directory)),
                ])
            })
    }

    /// The snapshots of the selected tables, including tables that have been dropped or truncated since, with their
    /// table names.
    private func chosenSnapshots(
        _ arguments: [String: String]
    ) throws -> [(table: (keyspace: String, name: String), snapshot: SnapshotInfo)] {
        let found = try node.storage.snapshots().map { (TableStorage.tableName(ofDirectory: $0.table), $0) }.filter {
            table, _ in
            arguments["keyspace"].map { $0 == table.keyspace } ?? true
                && arguments["table"].map { $0 == table.name } ?? true
        }
        if found.isEmpty { _ = try chosen(arguments) }
        return found
    }
}
