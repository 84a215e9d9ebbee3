import DataModel
import Primitives

/// The system keyspaces, shaped as in Cassandra 5.0. Their rows are computed when read (`VirtualReplica`).
enum SystemKeyspaces {
    static let all: [KeyspaceMetadata] = [system, schema, traces, virtualSchema, views]

    /// Returns the user's schema with the system keyspaces added.
    static func added(to schema: Schema) -> Schema {
        var complete = schema
        for keyspace in all where complete.keyspaces[keyspace.name] !== keyspace {
            complete = complete.setting(keyspace)
        }
        return complete
    }

    static let system = stored(
        "system",
        [
            table(
                "system", "local", key: "key text",
                "bootstrapped text, broadcast_address inet, broadcast_port int, cluster_name text, cql_version text, data_center text, "
                    + "gossip_generation int, host_id uuid, listen_address inet, listen_port int, native_protocol_version text, "
                    + "partitioner text, rack text, release_version text, rpc_address inet, rpc_port int, schema_version uuid, "
                    + "tokens set<text>, truncated_at map<uuid, blob>"),
            table(
                "system", "peers", key: "peer inet",
                "data_center text, host_id uuid, preferred_ip inet, rack text, release_version text, rpc_address inet, "
                    + "schema_version uuid, tokens set<text>"),
            table(
                "system", "peers_v2", key: "peer inet", clustering: "peer_port int",
                "data_center text, host_id uuid, native_address inet, native_port int, preferred_ip inet, preferred_port int, rack text, "
                    + "release_version text, schema_version uuid, tokens set<text>"),
            table(
                "system", "size_estimates", key: "keyspace_name text",
                clustering: "table_name text, range_start text, range_end text",
                "mean_partition_size bigint, partitions_count bigint"),
            table(
                "system", "compaction_history", key: "id uuid",
                "bytes_in bigint, bytes_out bigint, columnfamily_name text, compacted_at timestamp, keyspace_name text, "
                    + "rows_merged map<int, bigint>"),
            table("system", "IndexInfo", key: "table_name text", clustering: "index_name text", "value blob"),
            table(
                "system", "built_views", key: "keyspace_name text", clustering: "view_name text",
                "status_replicated boolean"),
        ])

    private static let optionColumns =
        "additional_write_policy text, allow_auto_snapshot boolean, bloom_filter_fp_chance double, caching frozen<map<text, text>>, "
        + "cdc boolean, comment text, compaction frozen<map<text, text>>, compression frozen<map<text, text>>, crc_check_chance double, "
        + "dclocal_read_repair_chance double, default_time_to_live int, extensions frozen<map<text, blob>>, gc_grace_seconds int, id uuid, "
        + "incremental_backups boolean, max_index_interval int, memtable text, memtable_flush_period_in_ms int, min_index_interval int, "
        + "read_repair text, read_repair_chance double, speculative_retry text"
    private static let columnColumns =
        "clustering_order text, column_name_bytes blob, kind text, position int, type text"

    static let schema = stored(
        "system_schema",
        [
            table(
                "system_schema", "keyspaces", key: "keyspace_name text",
                "durable_writes boolean, replication frozen<map<text, text>>, sloppy_quorum boolean"),
            table(
                "system_schema", "tables", key: "keyspace_name text", clustering: "table_name text",
                optionColumns + ", flags frozen<set<text>>"),
            table(
                "system_schema", "columns", key: "keyspace_name text", clustering: "table_name text, column_name text",
                columnColumns),
            table(
                "system_schema", "column_masks", key: "keyspace_name text",
                clustering: "table_name text, column_name text",
                "function_argument_nulls frozen<list<boolean>>, function_argument_types frozen<list<text>>, "
                    + "function_argument_values frozen<list<text>>, function_keyspace text, function_name text"),
            table(
                "system_schema", "dropped_columns", key: "keyspace_name text",
                clustering: "table_name text, column_name text",
                "dropped_time timestamp, kind text, type text"),
            table(
                "system_schema", "triggers", key: "keyspace_name text",
                clustering: "table_name text, trigger_name text",
                "options frozen<map<text, text>>"),
            table(
                "system_schema", "views", key: "keyspace_name text", clustering: "view_name text",
                optionColumns
                    + ", base_table_id uuid, base_table_name text, include_all_columns boolean, where_clause text"),
            table(
                "system_schema", "types", key: "keyspace_name text", clustering: "type_name text",
                "field_names frozen<list<text>>, field_types frozen<list<text>>"),
            table(
                "system_schema", "functions", key: "keyspace_name text",
                clustering: "function_name text, argument_types frozen<list<text>>",
                "argument_names frozen<list<text>>, body text, called_on_null_input boolean, language text, return_type text"
            ),
            table(
                "system_schema", "aggregates", key: "keyspace_name text",
                clustering: "aggregate_name text, argument_types frozen<list<text>>",
                "final_func text, initcond text, return_type text, state_func text, state_type text"),
            table(
                "system_schema", "indexes", key: "keyspace_name text", clustering: "table_name text, index_name text",
                "kind text, options frozen<map<text, text>>"),
        ])

    static let traces = KeyspaceMetadata(
        name: "system_traces",
        replication: ["class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"],
        holding: [
            table(
                "system_traces", "sessions", key: "session_id uuid",
                "client inet, command text, coordinator inet, coordinator_port int, duration int, parameters map<text, text>, "
                    + "request text, started_at timestamp"),
            table(
                "system_traces", "events", key: "session_id uuid", clustering: "event_id timeuuid",
                "activity text, source inet, source_elapsed int, source_port int, thread text"),
        ])

    static let virtualSchema = KeyspaceMetadata(
        name: "system_virtual_schema", replication: [:],
        holding: [
            table("system_virtual_schema", "keyspaces", key: "keyspace_name text", ""),
            table(
                "system_virtual_schema", "tables", key: "keyspace_name text", clustering: "table_name text",
                "comment text"),
            table(
                "system_virtual_schema", "columns", key: "keyspace_name text",
                clustering: "table_name text, column_name text",
                columnColumns),
        ], isVirtual: true)

    static let views = KeyspaceMetadata(
        name: "system_views", replication: [:],
        holding: [table("system_views", "settings", key: "name text", "value text")],
        isVirtual: true)

    private static func stored(_ name: String, _ tables: [TableMetadata]) -> KeyspaceMetadata {
        KeyspaceMetadata(
            name: name, replication: ["class": "org.apache.cassandra.locator.LocalStrategy"], holding: tables)
    }

    /// Builds a table from lists of `name type`.
    private static func table(
        _ keyspace: String, _ name: String, key: String, clustering: String = "", _ columns: String
    ) -> TableMetadata {
        var all: [ColumnMetadata] = []
        for (list, kind) in [(key, ColumnMetadata.Kind.partitionKey), (clustering, .clustering), (columns, .regular)] {
            for (position, definition) in split(list).enumerated() {
                guard let space = definition.firstIndex(of: " "),
                    let type = CQLType.parse(String(definition[definition.index(after: space)...]))
                else { preconditionFailure("the definition '\(definition)' of \(keyspace).\(name) does not parse") }
                all.append(
                    ColumnMetadata(
                        name: String(definition[..<space]), type: type, kind: kind,
                        position: kind == .regular ? -1 : position,
                        id: all.count))
            }
        }
        let seed = Array("\(keyspace).\(name)".utf8)
        let id = UUID(
            high: Checksum.xxh3(seed, seed: 1) & ~0xf000 | 0x3000,
            low: Checksum.xxh3(seed, seed: 2) & ~(3 << 62) | (2 << 62))
        return TableMetadata(keyspace: keyspace, name: name, id: id, columns: all, isVirtual: true)
    }

    /// Splits a list at the commas outside angle brackets.
    private static func split(_ list: String) -> [String] {
        var parts: [String] = []
        var part = ""
        var depth = 0
        for character in list {
            if character == "<" { depth += 1 }
            if character == ">" { depth -= 1 }
            if character == "," && depth == 0 {
                parts.append(part)
                part = ""
            } else if !(character == " " && part.isEmpty) {
                part.append(character)
            }
        }
        if !part.isEmpty { parts.append(part) }
        return parts
    }
}
