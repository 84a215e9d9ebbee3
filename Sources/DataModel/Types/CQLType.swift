/// A CQL data type.
///
/// A value of a type is, everywhere in the server, its native-protocol bytes (native_protocol_v4.spec, section 6): what a driver
/// sends is what is stored and what is sent back. A key is stored in its byte-comparable form instead (`KeyEncoding`).
public indirect enum CQLType: Hashable, Sendable {
    case ascii, bigint, blob, boolean, counter, date, decimal, double, duration, float, inet, int, smallint, text, time, timestamp
    case timeuuid, tinyint, uuid, varint
    case list(CQLType)
    case set(CQLType)
    case map(CQLType, CQLType)
    case tuple([CQLType])
    /// A collection stored and replaced as one value.
    case frozen(CQLType)
}

extension CQLType {
    /// The type without its outermost `frozen<>`.
    public var unfrozen: CQLType {
        if case .frozen(let inner) = self { return inner.unfrozen }
        return self
    }

    /// A collection whose elements are cells of their own.
    public var isMultiCell: Bool {
        switch self {
        case .list, .set, .map: true
        default: false
        }
    }
}
