import DataModel

/// A number of any CQL type, in the widest form of its family.
enum Number {
    case integer(Int64)
    case big(BigInteger)
    case float(Float)
    case double(Double)
    case decimal(BigDecimal)

    /// Decodes a number; nil when the bytes are not a value of the type.
    init?(_ bytes: [UInt8], _ type: CQLType) {
        let outcome: Number? = bytes.withUnsafeBytes { raw in
            switch type {
            case .tinyint: CQLType.integer(raw).map { (value: Int8) in .integer(Int64(value)) }
            case .smallint: CQLType.integer(raw).map { (value: Int16) in .integer(Int64(value)) }
            case .int: CQLType.integer(raw).map { (value: Int32) in .integer(Int64(value)) }
            case .bigint, .counter: CQLType.integer(raw).map { (value: Int64) in .integer(value) }
            case .float: CQLType.integer(raw).map { (value: UInt32) in .float(Float(bitPattern: value)) }
            case .double: CQLType.integer(raw).map { (value: UInt64) in .double(Double(bitPattern: value)) }
            case .varint: raw.isEmpty ? nil : .big(BigInteger(native: raw))
            case .decimal: raw.count < 4 ? nil : .decimal(BigDecimal(native: raw))
            default: nil
            }
        }
        guard let outcome else { return nil }
        self = outcome
    }

    var double: Double {
        switch self {
        case .integer(let value): Double(value)
        case .big(let value): value.double
        case .float(let value): Double(value)
        case .double(let value): value
        case .decimal(let value): Double(value.description) ?? .nan
        }
    }

    /// The integer part, narrowed as in Java: floating-point numbers saturate, others lose their high bits.
    var int64: Int64 {
        switch self {
        case .integer(let value): return value
        case .big(let value): return value.truncatedInt64
        case .float, .double:
            let value = double
            return value.isNaN ? 0 : Int64(exactly: value.rounded(.towardZero)) ?? (value < 0 ? .min : .max)
        case .decimal(let value): return value.integerPart?.truncatedInt64 ?? 0
        }
    }

    func big() throws(ValueError) -> BigInteger {
        switch self {
        case .integer(let value): return BigInteger(value)
        case .big(let value): return value
        case .float, .double:
            guard let value = BigInteger(truncating: double) else { throw .invalid("\(double) has no integer part") }
            return value
        case .decimal(let value):
            guard let part = value.integerPart else {
                throw .invalid("the integer part of \(value) has too many digits")
            }
            return part
        }
    }

    func decimal() throws(ValueError) -> BigDecimal {
        switch self {
        case .integer(let value): return BigDecimal(unscaled: BigInteger(value), scale: 0)
        case .big(let value): return BigDecimal(unscaled: value, scale: 0)
        case .float(let value):
            guard let decimal = BigDecimal(value.description) else {
                throw .invalid("\(JavaNumber.text(value)) is not a decimal")
            }
            return decimal
        case .double(let value):
            guard let decimal = BigDecimal(value.description) else {
                throw .invalid("\(JavaNumber.text(value)) is not a decimal")
            }
            return decimal
        case .decimal(let value): return value
        }
    }

    func bytes(of type: CQLType) throws(ValueError) -> [UInt8]? {
        switch type {
        case .tinyint: CQLType.bigEndian(Int8(truncatingIfNeeded: narrowed))
        case .smallint: CQLType.bigEndian(Int16(truncatingIfNeeded: narrowed))
        case .int: CQLType.bigEndian(isFloating ? Int32(clamping: int64) : Int32(truncatingIfNeeded: int64))
        case .bigint, .counter: CQLType.bigEndian(int64)
        case .float: CQLType.bigEndian((isFloat ?? Float(double)).bitPattern)
        case .double: CQLType.bigEndian(double.bitPattern)
        case .varint: try big().native
        case .decimal: try decimal().native
        default: nil
        }
    }

    private var isFloating: Bool {
        switch self {
        case .float, .double: true
        default: false
        }
    }

    /// As in Java, a floating-point number is narrowed to int before it is truncated to short or byte.
    private var narrowed: Int64 { isFloating ? Int64(Int32(clamping: int64)) : int64 }

    private var isFloat: Float? { if case .float(let value) = self { value } else { nil } }
}
