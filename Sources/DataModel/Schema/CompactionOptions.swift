/// The compaction options of a table.
public struct CompactionOptions: Sendable, Hashable {
    public enum Strategy: String, Sendable, CaseIterable {
        case sizeTiered = "SizeTieredCompactionStrategy"
        case leveled = "LeveledCompactionStrategy"
        case timeWindow = "TimeWindowCompactionStrategy"
        case unified = "UnifiedCompactionStrategy"
    }

    public var strategy = Strategy.sizeTiered
    /// The given sub-options without `class`; absent ones have their defaults.
    public private(set) var options: [String: String] = ["max_threshold": "32", "min_threshold": "4"]

    public init() {}

    public static let package = "org.apache.cassandra.db.compaction."

    /// All sub-options, as `system_schema.tables.compaction` shows them.
    public var map: [String: String] {
        options.merging(["class": Self.package + strategy.rawValue]) { _, name in name }
    }

    public var isEnabled: Bool { options["enabled"].map { $0.lowercased() == "true" } ?? true }

    /// Returns a numeric sub-option.
    public func number(_ name: String, default value: Double) -> Double { options[name].flatMap(Double.init) ?? value }
    public func integer(_ name: String, default value: Int) -> Int { options[name].flatMap { Int($0) } ?? value }

    public var minThreshold: Int { integer("min_threshold", default: 4) }
    public var maxThreshold: Int { integer("max_threshold", default: 32) }

    init(_ map: [String: String]) throws(ServerError) {
        guard let name = map["class"] else {
            throw ServerError(.configError, "Missing sub-option 'class' for the 'compaction' option.")
        }
        let simple = name.hasPrefix(Self.package) ? String(name.dropFirst(Self.package.count)) : name
        guard let strategy = Strategy(rawValue: simple) else {
            let full = name.contains(".") ? name : Self.package + name
            throw ServerError(.configError, "Unable to find compaction strategy class '\(full)'")
        }
        self.strategy = strategy
        let unknown = map.keys.filter { $0 != "class" && !Self.known(strategy).contains($0) }.sorted()
        guard unknown.isEmpty else {
            throw ServerError(
                .configError,
                "Properties specified [\(unknown.joined(separator: ", "))] are not understood by \(simple)")
        }
        options = map.filter { $0.key != "class" }
        for (name, value) in options.sorted(by: { $0.key < $1.key }) { try Self.check(name, value) }
        if strategy == .sizeTiered || strategy == .timeWindow {
            if options["max_threshold"] == nil { options["max_threshold"] = "32" }
            if options["min_threshold"] == nil { options["min_threshold"] = "4" }
        }
        try checkThresholds()
    }

    private static let everywhere: Set<String> = [
        "tombstone_threshold", "tombstone_compaction_interval", "unchecked_tombstone_compaction",
        "only_purge_repaired_tombstones",
        "log_all", "enabled", "provide_overlapping_tombstones",
    ]

    private static func known(_ strategy: Strategy) -> Set<String> {
        let tiers: Set<String> = ["min_threshold", "max_threshold", "min_sstable_size", "bucket_low", "bucket_high"]
        switch strategy {
        case .sizeTiered: return everywhere.union(tiers)
        case .leveled:
            return everywhere.union([
                "sstable_size_in_mb", "fanout_size", "single_sstable_uplevel", "min_threshold", "max_threshold",
            ])
        case .timeWindow:
            return everywhere.union(tiers).union([
                "compaction_window_unit", "compaction_window_size", "timestamp_resolution",
                "expired_sstable_check_frequency_seconds",
                "unsafe_aggressive_sstable_expiration",
            ])
        case .unified:
            return everywhere.union([
                "scaling_parameters", "target_sstable_size", "min_sstable_size", "base_shard_count", "sstable_growth",
                "flush_size_override", "overlap_inclusion_method", "expired_sstable_check_frequency_seconds",
                "unsafe_aggressive_sstable_expiration", "max_sstables_to_compact",
            ])
        }
    }

    private static func check(_ name: String, _ value: String) throws(ServerError) {
        func fail(_ message: String) -> ServerError { ServerError(.configError, message) }
        switch name {
        case "tombstone_threshold", "bucket_low", "bucket_high":
            guard let number = Double(value) else { throw fail("\(value) is not a parsable float for \(name)") }
            guard number > 0 else { throw fail("\(name) must be greater than 0, but was \(value)") }
        case "min_threshold", "max_threshold", "tombstone_compaction_interval", "sstable_size_in_mb", "fanout_size",
            "compaction_window_size", "expired_sstable_check_frequency_seconds", "base_shard_count",
            "max_sstables_to_compact":
            guard let number = Int32(value) else { throw fail("\(value) is not a parsable int (base10) for \(name)") }
            let least: Int32 =
                name == "compaction_window_size" || name == "fanout_size" || name == "sstable_size_in_mb" ? 1 : 0
            guard number >= least else { throw fail("\(name) must be at least \(least), but was \(value)") }
        case "unchecked_tombstone_compaction", "only_purge_repaired_tombstones", "log_all", "enabled",
            "single_sstable_uplevel",
            "unsafe_aggressive_sstable_expiration":
            guard ["true", "false"].contains(value.lowercased()) else {
                throw fail("'\(name)' should be either 'true' or 'false', not '\(value)'")
            }
        case "compaction_window_unit":
            guard ["MINUTES", "HOURS", "DAYS"].contains(value.uppercased()) else {
                throw fail("\(value) is not valid for compaction_window_unit")
            }
        case "timestamp_resolution":
            guard ["NANOSECONDS", "MICROSECONDS", "MILLISECONDS", "SECONDS"].contains(value.uppercased()) else {
                throw fail("timestamp_resolution \(value) is not valid")
            }
        default: break
        }
    }

    private func checkThresholds() throws(ServerError) {
        if minThreshold == 0 || maxThreshold == 0 {
            throw ServerError(
                .configError,
                "Disabling compaction by setting min_threshold or max_threshold to 0 has been removed, set the compaction option 'enabled' to 'false' instead."
            )
        }
        if minThreshold < 2 {
            throw ServerError(.configError, "Min compaction threshold cannot be less than 2 (got \(minThreshold)).")
        }
        if maxThreshold < minThreshold {
            throw ServerError(
                .configError,
                "Min compaction threshold (got \(minThreshold)) cannot be greater than max compaction threshold (got \(maxThreshold))"
            )
        }
        let low = number("bucket_low", default: 0.5)
        let high = number("bucket_high", default: 1.5)
        if high <= low {
            throw ServerError(
                .configError,
                "bucket_high value (\(JavaNumber.text(high))) is less than or equal to the bucket_low value (\(JavaNumber.text(low)))"
            )
        }
    }
}
