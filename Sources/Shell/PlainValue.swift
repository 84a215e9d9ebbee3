import DataModel

/// Values as COPY's files hold them.
enum PlainValue {
    /// The native bytes of what stands in a field.
    static func bytes(_ type: CQLType, _ text: String) throws(ValueError) -> [UInt8] {
        try type.bytes(fromScalarText: text)
    }
}
