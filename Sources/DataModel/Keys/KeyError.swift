/// A value cannot be a key, or bytes are not an encoded key.
public enum KeyError: Error, Equatable {
    /// The value's bytes are not of the type.
    case malformedValue(type: CQLType, byteCount: Int)
    /// More than 65,535 bytes.
    case tooLong(byteCount: Int)
    /// The type has no order (duration, counter).
    case unorderedType(CQLType)
    /// Encoded bytes ended early or hold what no encoder writes.
    case damaged(offset: Int)
}
