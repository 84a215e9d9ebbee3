import DataModel

/// Validation of LIMIT values.
enum LimitValue {
    static func check(_ bytes: [UInt8], _ what: String) throws(ServerError) -> Int {
        let value: Int32? = bytes.withUnsafeBytes { CQLType.integer($0) }
        guard let value else { throw .invalid("Invalid null value of \(what.lowercased())") }
        guard value > 0 else { throw .invalid("\(what) must be strictly positive") }
        return Int(value)
    }
}
