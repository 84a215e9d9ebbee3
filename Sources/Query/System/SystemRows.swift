import DataModel
import Primitives

/// Computes the rows of the system tables.
struct SystemRows {
    let schema: Schema
    let node: NodeInfo
    let traces: TraceStore

    func rows(of table: TableMetadata) -> VirtualRows {
        var rows = VirtualRows(table)
        switch table.qualifiedName {
        case "system.local": addLocal(&rows)
        case "system.peers", "system.peers_v2": for peer in node.peers { addPeer(peer, &rows) }
        case "system.size_estimates": break
        case "system_schema.keyspaces":
            for keyspace in stored {
                rows.add([
                    "keyspace_name": NativeValue.text(keyspace.name),
                    "durable_writes": NativeValue.boolean(keyspace.durableWrites),
                    "replication": NativeValue.textMap(keyspace.replication),
                    "sloppy_quorum": NativeValue.boolean(keyspace.sloppyQuorum),
                ])
            }
        case "system_schema.tables":
            for keyspace in stored { for table in keyspace.sortedTables { rows.add(describe(table)) } }
        case "system_schema.columns": for keyspace in stored { addColumns(of: keyspace, &rows) }
        case "system_virtual_schema.keyspaces":
            for keyspace in virtual { rows.add(["keyspace_name": NativeValue.text(keyspace.name)]) }
        case "system_virtual_schema.tables":
            for keyspace in virtual {
                for table in keyspace.sortedTables {
                    rows.add([
                        "keyspace_name": NativeValue.text(keyspace.name), "table_name": NativeValue.text(table.name),
                        "comment": NativeValue.text(table.options.comment),
                    ])
                }
            }
        case "system_virtual_schema.columns": for keyspace in virtual { addColumns(of: keyspace, &rows) }
        case "system_views.settings":
            for setting in node.settings {
                rows.add(["name": NativeValue.text(setting.name), "value": NativeValue.text(setting.value)])
            }
        case "system_traces.sessions": for session in traces.sessions { rows.add(session.values(node)) }
        case "system_traces.events":
            for session in traces.sessions { for event in session.eventValues(node) { rows.add(event) } }
        default: break
        }
        return rows
    }

    private var stored: [KeyspaceMetadata] { schema.sortedKeyspaces.filter { !$0.isVirtual } }
    private var virtual: [KeyspaceMetadata] { schema.sortedKeyspaces.filter(\.isVirtual) }

    private func addLocal(_ rows: inout VirtualRows) {
        let address = SystemRows.inet(node.address)
        rows.add([
            "key": NativeValue.text("local"), "bootstrapped": NativeValue.text("COMPLETED"),
            "broadcast_address": address,
            "broadcast_port": NativeValue.int(Int32(truncatingIfNeeded: node.storagePort)),
            "cluster_name": NativeValue.text(node.clusterName),
            "cql_version": NativeValue.text(NodeInfo.cqlVersion), "data_center": NativeValue.text(node.dataCenter),
            "gossip_generation": NativeValue.int(Int32(clamping: node.generation)),
            "host_id": NativeValue.uuid(node.hostID),
            "listen_address": address,
            "listen_port": NativeValue.int(Int32(truncatingIfNeeded: node.storagePort)),
            "native_protocol_version": NativeValue.text("5"),
            "partitioner": NativeValue.text(NodeInfo.partitioner), "rack": NativeValue.text(node.rack),
            "release_version": NativeValue.text(NodeInfo.releaseVersion), "rpc_address": address,
            "rpc_port": NativeValue.int(Int32(truncatingIfNeeded: node.nativePort)),
            "schema_version": NativeValue.uuid(schema.version),
            "tokens": NativeValue.texts(node.tokens.map { "\($0)" }.sorted()),
        ])
    }

    /// Adds a row of `peers` or `peers_v2`.
    private func addPeer(_ peer: PeerInfo, _ rows: inout VirtualRows) {
        let address = SystemRows.inet(peer.address)
        let port = NativeValue.int(Int32(truncatingIfNeeded: peer.storagePort))
        rows.add([
            "peer": address, "peer_port": port, "data_center": NativeValue.text(peer.dataCenter),
            "host_id": NativeValue.uuid(peer.hostID), "native_address": address,
            "native_port": NativeValue.int(Int32(truncatingIfNeeded: peer.nativePort)), "preferred_ip": address,
            "preferred_port": port, "rack": NativeValue.text(peer.rack),
            "release_version": NativeValue.text(NodeInfo.releaseVersion), "rpc_address": address,
            "schema_version": NativeValue.uuid(peer.schemaVersion),
            "tokens": NativeValue.texts(peer.tokens.map { "\($0)" }.sorted()),
        ])
    }

    private func addColumns(of keyspace: KeyspaceMetadata, _ rows: inout VirtualRows) {
        for table in keyspace.sortedTables {
            for column in table.columns {
                rows.add([
                    "keyspace_name": NativeValue.text(keyspace.name), "table_name": NativeValue.text(table.name),
                    "column_name": NativeValue.text(column.name),
                    "clustering_order": NativeValue.text(column.clusteringOrder),
                    "column_name_bytes": NativeValue.text(column.name), "kind": NativeValue.text(column.kind.rawValue),
                    "position": NativeValue.int(Int32(column.position)), "type": NativeValue.text("\(column.type)"),
                ])
            }
        }
    }

    private func describe(_ table: TableMetadata) -> [String: [UInt8]] {
        let options = table.options
        return [
            "keyspace_name": NativeValue.text(table.keyspace), "table_name": NativeValue.text(table.name),
            "additional_write_policy": NativeValue.text(options.additionalWritePolicy),
            "bloom_filter_fp_chance": NativeValue.double(options.bloomFilterFalsePositiveChance),
            "caching": NativeValue.textMap(options.caching.map), "cdc": NativeValue.boolean(options.changeDataCapture),
            "comment": NativeValue.text(options.comment), "compaction": NativeValue.textMap(options.compaction.map),
            "compression": NativeValue.textMap(options.compression.map),
            "crc_check_chance": NativeValue.double(options.crcCheckChance),
            "dclocal_read_repair_chance": NativeValue.double(0),
            "default_time_to_live": NativeValue.int(Int32(clamping: options.defaultTimeToLive)),
            "extensions": NativeValue.collection(
                options.extensions.sorted { $0.key < $1.key }.flatMap {
                    [NativeValue.text($0.key), NativeValue.text($0.value)]
                },
                valuesPerElement: 2),
            "flags": NativeValue.texts(table.isCounter ? ["compound", "counter"] : ["compound"]),
            "gc_grace_seconds": NativeValue.int(Int32(clamping: options.gcGraceSeconds)),
            "id": NativeValue.uuid(table.id),
            "max_index_interval": NativeValue.int(Int32(clamping: options.maxIndexInterval)),
            "memtable": NativeValue.text(options.memtable),
            "memtable_flush_period_in_ms": NativeValue.int(Int32(clamping: options.memtableFlushPeriodMilliseconds)),
            "min_index_interval": NativeValue.int(Int32(clamping: options.minIndexInterval)),
            "read_repair": NativeValue.text(options.readRepair), "read_repair_chance": NativeValue.double(0),
            "speculative_retry": NativeValue.text(options.speculativeRetry),
        ]
    }

    /// The 4 or 16 bytes of an `inet`; 127.0.0.1 when the text is not an address.
    static func inet(_ text: String) -> [UInt8] {
        InternetAddress.parse(text) ?? [127, 0, 0, 1]
    }
}
