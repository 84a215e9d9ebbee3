/// Why a value cannot be encoded into a key, or a key cannot be decoded.
public enum KeyError: Error, Equatable {
    /// The bytes are not a value of the type.
    case malformedValue(type: CQLType, byteCount: Int)
    /// The serialized partition key is longer than 65,535 bytes.
    case tooLong(byteCount: Int)
    /// The type has no order (duration, counter).
    case unorderedType(CQLType)
    /// The encoded bytes end early, or no encoder writes them.
    case damaged(offset: Int)
}
