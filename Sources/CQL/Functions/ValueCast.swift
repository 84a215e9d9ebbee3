import DataModel

/// Implements `CAST(value AS type)`.
enum ValueCast {
    /// Whether a value of type `from` can be cast to `to` (CQL 3.4.5, "Cast").
    static func isAllowed(from: CQLType, to: CQLType) -> Bool {
        if from == to { return true }
        switch from {
        case .tinyint, .smallint, .int, .bigint, .counter, .float, .double, .decimal, .varint:
            return (to.isNumeric && to != .counter) || to == .text
        case .ascii: return to == .text
        case .boolean, .inet, .time, .uuid: return to == .text
        case .date: return to == .timestamp || to == .text
        case .timestamp: return to == .date || to == .text
        case .timeuuid: return to == .timestamp || to == .date || to == .text
        default: return false
        }
    }

    static func cast(_ value: [UInt8], from: CQLType, to: CQLType) throws(ValueError) -> [UInt8]? {
        if from == to { return value }
        if value.isEmpty, from != .ascii { return nil }
        if to == .text { return Array(value.withUnsafeBytes { from.scalarText($0) }.utf8) }
        switch to {
        case .timestamp: return TimeConversion.milliseconds(value, of: from).map { CQLType.bigEndian($0) }
        case .date:
            return TimeConversion.milliseconds(value, of: from).map {
                CQLType.bigEndian(TimeConversion.date(milliseconds: $0))
            }
        default: break
        }
        guard let number = Number(value, from) else { return nil }
        return try number.bytes(of: to)
    }
}
