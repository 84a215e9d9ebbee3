import DataModel

/// Validation of TTL values.
enum TimeToLive {
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
