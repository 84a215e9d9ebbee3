/// A value after `WITH name =`.
public enum PropertyValue: Sendable, Equatable {
    /// A string, number, boolean or word, as text.
    case text(String)
    case map([String: String])
}

extension TableOptions {
    /// Options of older Cassandra releases, accepted without effect.
    public static let obsoletePropertyNames: Set<String> = [
        "read_repair_chance", "dclocal_read_repair_chance", "replicate_on_write", "populate_io_cache_on_flush",
        "index_interval",
    ]

    /// Sets the given properties and validates the result.
    /// - Throws: a syntax error for an unknown name or a malformed value, a configuration error for a value out of
    ///   range.
    public mutating func set(_ properties: [(name: String, value: PropertyValue)]) throws(ServerError) {
        var seen: Set<String> = []
        var setsChance = false
        for (name, value) in properties {
            let name = name.lowercased()
            guard seen.insert(name).inserted else { throw .syntax("Multiple definition for property '\(name)'") }
            if Self.obsoletePropertyNames.contains(name) { continue }
            if name == "bloom_filter_fp_chance" { setsChance = true }
            try set(name, value)
        }
        // With leveled compaction a read visits one sstable per level, so a higher false-positive rate is enough.
        if !setsChance, seen.contains("compaction"), bloomFilterFalsePositiveChance == 0.01,
            compaction.strategy == .leveled
        {
            bloomFilterFalsePositiveChance = 0.1
        }
        try validate()
    }

    private mutating func set(_ name: String, _ value: PropertyValue) throws(ServerError) {
        switch name {
        case "additional_write_policy": additionalWritePolicy = try Self.retryPolicy(value, name)
        case "bloom_filter_fp_chance": bloomFilterFalsePositiveChance = try value.number(for: name)
        case "caching": caching = try CachingOptions(value.map(for: name))
        case "cdc": changeDataCapture = try value.boolean(for: name)
        case "comment": comment = try value.text(for: name)
        case "compaction": compaction = try CompactionOptions(value.map(for: name))
        case "compression": compression = try CompressionOptions(value.map(for: name))
        case "crc_check_chance": crcCheckChance = try value.number(for: name)
        case "default_time_to_live": defaultTimeToLive = try value.integer(for: name)
        case "extensions": extensions = try value.map(for: name)
        case "gc_grace_seconds": gcGraceSeconds = try value.integer(for: name)
        case "max_index_interval": maxIndexInterval = try value.integer(for: name)
        case "memtable": memtable = try value.text(for: name)
        case "memtable_flush_period_in_ms": memtableFlushPeriodMilliseconds = try value.integer(for: name)
        case "min_index_interval": minIndexInterval = try value.integer(for: name)
        case "read_repair":
            let strategy = try value.text(for: name).uppercased()
            guard strategy == "BLOCKING" || strategy == "NONE" else {
                throw ServerError(
                    .configError, "Invalid value \(strategy) for read_repair, must be one of [NONE, BLOCKING]")
            }
            readRepair = strategy
        case "speculative_retry": speculativeRetry = try Self.retryPolicy(value, name)
        default: throw .syntax("Unknown property '\(name)'")
        }
    }

    /// `ALWAYS`, `NEVER`, `Xp` (also `XPERCENTILE`), `Nms`, or `MIN(a,b)` and `MAX(a,b)` of these.
    private static func retryPolicy(_ value: PropertyValue, _ name: String) throws(ServerError) -> String {
        let text = try value.text(for: name)
        guard isRetryPolicy(text.lowercased()) else {
            throw ServerError(.configError, "Invalid value \(text) for option '\(name)'")
        }
        let upper = text.uppercased()
        if upper == "ALWAYS" || upper == "NEVER" { return upper }
        let lower = text.lowercased()
        return lower.hasSuffix("percentile") && !lower.contains("(") ? String(lower.dropLast(9)) : text
    }

    private static func isRetryPolicy(_ text: String) -> Bool {
        switch text {
        case "always", "never", "none": return true
        default: break
        }
        for function in ["min(", "max("] where text.hasPrefix(function) && text.hasSuffix(")") {
            let parts = text.dropFirst(4).dropLast().split(separator: ",", omittingEmptySubsequences: false)
            return parts.count == 2
                && parts.allSatisfy { part in
                    let part = String(part.filter { $0 != " " })
                    return !part.hasPrefix("m") && isRetryPolicy(part)
                }
        }
        for suffix in ["percentile", "p"] where text.hasSuffix(suffix) {
            guard let percent = Double(text.dropLast(suffix.count)) else { return false }
            return percent >= 0 && percent <= 100
        }
        guard text.hasSuffix("ms"), let milliseconds = Double(text.dropLast(2)) else { return false }
        return milliseconds >= 0
    }

    private func validate() throws(ServerError) {
        func check(_ holds: Bool, _ message: @autoclosure () -> String) throws(ServerError) {
            if !holds { throw ServerError(.configError, message()) }
        }
        try check(
            bloomFilterFalsePositiveChance > 6.71e-5 && bloomFilterFalsePositiveChance <= 1,
            "bloom_filter_fp_chance must be larger than 6.71E-5 and less than or equal to 1.0 (got \(JavaNumber.text(bloomFilterFalsePositiveChance)))"
        )
        try check(
            crcCheckChance >= 0 && crcCheckChance <= 1,
            "crc_check_chance must be larger than or equal to 0 and smaller than or equal to 1.0 (got \(JavaNumber.text(crcCheckChance)))"
        )
        try check(
            defaultTimeToLive >= 0, "default_time_to_live must be greater than or equal to 0 (got \(defaultTimeToLive))"
        )
        try check(
            defaultTimeToLive <= Self.maximumTimeToLive,
            "default_time_to_live must be less than or equal to \(Self.maximumTimeToLive) (got \(defaultTimeToLive))")
        try check(gcGraceSeconds >= 0, "gc_grace_seconds must be greater than or equal to 0 (got \(gcGraceSeconds))")
        try check(
            minIndexInterval >= 1, "min_index_interval must be greater than or equal to 1 (got \(minIndexInterval))")
        try check(
            maxIndexInterval >= minIndexInterval,
            "max_index_interval must be greater than or equal to min_index_interval (\(minIndexInterval)) (got \(maxIndexInterval))"
        )
        try check(
            memtableFlushPeriodMilliseconds >= 0,
            "memtable_flush_period_in_ms must be greater than or equal to 0 (got \(memtableFlushPeriodMilliseconds))")
    }
}

extension PropertyValue {
    func text(for name: String) throws(ServerError) -> String {
        guard case .text(let text) = self else {
            throw .syntax("Invalid value for property '\(name)'. It should be a string")
        }
        return text
    }

    func map(for name: String) throws(ServerError) -> [String: String] {
        guard case .map(let map) = self else {
            throw .syntax("Invalid value for property '\(name)'. It should be a map.")
        }
        return map
    }

    func integer(for name: String) throws(ServerError) -> Int {
        let text = try text(for: name)
        guard let value = Int32(text) else { throw .syntax("Invalid integer value \(text) for '\(name)'") }
        return Int(value)
    }

    func number(for name: String) throws(ServerError) -> Double {
        let text = try text(for: name)
        guard let value = Double(text) else { throw .syntax("Invalid double value \(text) for '\(name)'") }
        return value
    }

    /// The value as a boolean.
    public func boolean(for name: String) throws(ServerError) -> Bool {
        let text = try text(for: name)
        switch text.lowercased() {
        case "1", "true", "yes": return true
        case "0", "false", "no": return false
        default:
            throw .syntax(
                "Invalid boolean value \(text) for '\(name)'. Positive values can be '1', 'true' or 'yes'. Negative values can be '0', 'false' or 'no'."
            )
        }
    }
}

// The persisted form: all options by property name; sub-options as `property.name`. Part of the file format, do not
// change.
extension TableOptions {
    var flattened: [String: String] {
        var flat: [String: String] = [
            "additional_write_policy": additionalWritePolicy,
            "bloom_filter_fp_chance": JavaNumber.text(bloomFilterFalsePositiveChance),
            "cdc": String(changeDataCapture),
            "comment": comment,
            "crc_check_chance": JavaNumber.text(crcCheckChance),
            "default_time_to_live": String(defaultTimeToLive),
            "gc_grace_seconds": String(gcGraceSeconds),
            "max_index_interval": String(maxIndexInterval),
            "memtable": memtable,
            "memtable_flush_period_in_ms": String(memtableFlushPeriodMilliseconds),
            "min_index_interval": String(minIndexInterval),
            "read_repair": readRepair,
            "speculative_retry": speculativeRetry,
        ]
        for (property, map) in [
            ("caching", caching.map), ("compaction", compaction.map), ("compression", compression.map),
            ("extensions", extensions),
        ] {
            for (name, value) in map { flat["\(property).\(name)"] = value }
        }
        return flat
    }

    init(flattened flat: [String: String]) throws(ServerError) {
        var properties: [String: PropertyValue] = [:]
        for (name, value) in flat {
            guard let dot = name.firstIndex(of: ".") else {
                properties[name] = .text(value)
                continue
            }
            let property = String(name[..<dot])
            var map: [String: String] = [:]
            if case .map(let known)? = properties[property] { map = known }
            map[String(name[name.index(after: dot)...])] = value
            properties[property] = .map(map)
        }
        self.init()
        try set(properties.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) })
    }
}
