import DataModel

/// Validation of TTL values.
public enum TimeToLive {
    static func check(_ bytes: [UInt8]) throws(ServerError) -> Int {
        let value: Int32? = bytes.withUnsafeBytes { CQLType.integer($0) }
        guard let value else { throw .invalid("Invalid TTL of \(bytes.count) bytes") }
        guard value >= 0 else { throw .invalid("A TTL must be greater or equal to 0, but was \(value)") }
        guard value <= TableOptions.maximumTimeToLive else {
            throw .invalid("ttl is too large. requested (\(value)) maximum (\(TableOptions.maximumTimeToLive))")
        }
        return Int(value)
    }
}

extension ModificationPlan {
    /// Returns the time to live of what is written, in seconds: the statement's, or else the table's default; 0 means
    /// none. A null TTL counts as 0.
    public func timeToLiveValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int {
        guard let timeToLive else { return table.options.defaultTimeToLive }
        if let index = timeToLive.bindIndex, index < values.count, values.entries[index] == .unset {
            return table.options.defaultTimeToLive
        }
        guard let bytes = try timeToLive.evaluate(values, &context) else { return 0 }
        return bytes.isEmpty ? table.options.defaultTimeToLive : try TimeToLive.check(bytes)
    }

    /// Returns the statement's timestamp in microseconds; nil when the coordinator's clock decides.
    public func timestampValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
        try TimestampTerm.value(timestamp, values, &context)
    }
}

extension BatchPlan {
    /// Returns the batch's timestamp in microseconds; nil when its statements or the coordinator's clock decide.
    public func timestampValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
        try TimestampTerm.value(timestamp, values, &context)
    }
}

enum TimestampTerm {
    static func value(_ term: Term?, _ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
        guard let term else { return nil }
        if let index = term.bindIndex, index < values.count, values.entries[index] == .unset { return nil }
        guard let bytes = try term.evaluate(values, &context) else { throw .invalid("Invalid null value of timestamp") }
        let value: Int64? = bytes.withUnsafeBytes { CQLType.integer($0) }
        guard let value else { throw .invalid("Invalid timestamp value: \(bytes.count) bytes") }
        if value == Int64.min { throw .invalid("Out of bound timestamp, must be in [\(Int64.min + 1), \(Int64.max)]") }
        return value
    }
}
