import DataModel

/// Validation of LIMIT values.
public enum LimitValue {
    static func check(_ bytes: [UInt8], _ what: String) throws(ServerError) -> Int {
        let value: Int32? = bytes.withUnsafeBytes { CQLType.integer($0) }
        guard let value else { throw .invalid("Invalid null value of \(what.lowercased())") }
        guard value > 0 else { throw .invalid("\(what) must be strictly positive") }
        return Int(value)
    }
}

extension SelectPlan {
    /// Returns the maximum number of rows; nil without LIMIT or when its bind marker is unset.
    public func limitValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int? {
        try Self.value(limit, "LIMIT", values, &context)
    }

    /// Returns the maximum number of rows per partition; nil without PER PARTITION LIMIT or when its bind marker is
    /// unset.
    public func perPartitionLimitValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int? {
        try Self.value(perPartitionLimit, "PER PARTITION LIMIT", values, &context)
    }

    private static func value(
        _ term: Term?, _ what: String, _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> Int? {
        guard let term else { return nil }
        if let index = term.bindIndex, index < values.count, values.entries[index] == .unset { return nil }
        return try LimitValue.check(try term.evaluate(values, &context) ?? [], what)
    }
}
