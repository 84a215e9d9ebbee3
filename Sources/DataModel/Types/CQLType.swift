/// A CQL data type.
///
/// Everywhere in the server a value is its native-protocol bytes (native_protocol_v4.spec, section 6): what a driver
/// sends is what is stored and sent back. Only keys are stored in byte-comparable form instead (`KeyEncoding`).
public indirect enum CQLType: Hashable, Sendable {
    case ascii, bigint, blob, boolean, counter, date, decimal, double, duration, float, inet, int, smallint, text, time,
        timestamp
    case timeuuid, tinyint, uuid, varint
    case list(CQLType)
    case set(CQLType)
    case map(CQLType, CQLType)
    case tuple([CQLType])
    /// A collection that is stored and replaced as one value.
    case frozen(CQLType)
}

extension CQLType {
    /// The type without its outermost `frozen<>`.
    public var unfrozen: CQLType {
        if case .frozen(let inner) = self { return inner.unfrozen }
        return self
    }

    /// Whether the type is a collection whose elements are separate cells.
    public var isMultiCell: Bool {
        switch self {
        case .list, .set, .map: true
        default: false
        }
    }
}
