/// The options of a table: what CREATE or ALTER TABLE specifies after WITH, with the names and defaults of Cassandra
/// 4.1.
public struct TableOptions: Sendable, Hashable {
    public var additionalWritePolicy = "99p"
    public var bloomFilterFalsePositiveChance = 0.01
    public var caching = CachingOptions()
    public var changeDataCapture = false
    public var comment = ""
    public var compaction = CompactionOptions()
    public var compression = CompressionOptions()
    public var crcCheckChance = 1.0
    /// Seconds; 0 means none.
    public var defaultTimeToLive = 0
    public var extensions: [String: String] = [:]
    public var gcGraceSeconds = 864_000
    public var maxIndexInterval = 2048
    public var memtable = "default"
    public var memtableFlushPeriodMilliseconds = 0
    public var minIndexInterval = 128
    public var readRepair = "BLOCKING"
    public var speculativeRetry = "99p"

    /// The maximum TTL: 20 years, in seconds.
    public static let maximumTimeToLive = 20 * 365 * 24 * 3600

    public init() {}
}

/// The caching options of a table.
public struct CachingOptions: Sendable, Hashable {
    /// `ALL` or `NONE`.
    public var keys = "ALL"
    /// `ALL`, `NONE` or a number of rows.
    public var rowsPerPartition = "NONE"

    public init() {}

    public var map: [String: String] { ["keys": keys, "rows_per_partition": rowsPerPartition] }

    init(_ map: [String: String]) throws(ServerError) {
        for (name, value) in map.sorted(by: { $0.key < $1.key }) {
            switch name.lowercased() {
            case "keys":
                guard ["ALL", "NONE"].contains(value.uppercased()) else {
                    throw ServerError(
                        .configError, "Invalid value for caching sub-option 'keys': only 'ALL' and 'NONE' are allowed")
                }
                keys = value.uppercased()
            case "rows_per_partition":
                guard ["ALL", "NONE"].contains(value.uppercased()) || UInt32(value) != nil else {
                    throw ServerError(
                        .configError,
                        "Invalid value for caching sub-option 'rows_per_partition': only 'ALL', 'NONE', and integer values are allowed"
                    )
                }
                rowsPerPartition = value.uppercased()
            default:
                throw ServerError(
                    .configError,
                    "Invalid caching sub-options [\(name)]: only 'keys' and 'rows_per_partition' are allowed")
            }
        }
    }
}

extension TableOptions {
    /// The options as CQL text in the order of DESCRIBE; maps as CQL map literals.
    private func described(isVirtual: Bool) -> [(String, String)] {
        if isVirtual { return [("comment", Identifier.stringLiteral(comment))] }
        return [
            ("additional_write_policy", Identifier.stringLiteral(additionalWritePolicy)),
            ("bloom_filter_fp_chance", JavaNumber.text(bloomFilterFalsePositiveChance)),
            ("caching", Self.mapLiteral(caching.map)),
            ("cdc", String(changeDataCapture)),
            ("comment", Identifier.stringLiteral(comment)),
            ("compaction", Self.mapLiteral(compaction.map)),
            ("compression", Self.mapLiteral(compression.map)),
            ("memtable", Identifier.stringLiteral(memtable)),
            ("crc_check_chance", JavaNumber.text(crcCheckChance)),
            ("default_time_to_live", String(defaultTimeToLive)),
            ("extensions", Self.mapLiteral(extensions)),
            ("gc_grace_seconds", String(gcGraceSeconds)),
            ("max_index_interval", String(maxIndexInterval)),
            ("memtable_flush_period_in_ms", String(memtableFlushPeriodMilliseconds)),
            ("min_index_interval", String(minIndexInterval)),
            ("read_repair", Identifier.stringLiteral(readRepair)),
            ("speculative_retry", Identifier.stringLiteral(speculativeRetry)),
        ]
    }

    func describe(isVirtual: Bool) -> String {
        described(isVirtual: isVirtual).map { "\($0.0) = \($0.1)" }.joined(separator: "\n    AND ")
    }

    private static func mapLiteral(_ map: [String: String]) -> String {
        let entries = map.sorted { $0.key < $1.key }.map {
            "\(Identifier.stringLiteral($0.key)): \(Identifier.stringLiteral($0.value))"
        }
        return "{" + entries.joined(separator: ", ") + "}"
    }
}
