import Primitives

/// The kind of a CQL constant; the raw values are the names in Cassandra's messages.
public enum ConstantKind: String, Sendable, Hashable {
    case string = "STRING"
    case integer = "INTEGER"
    case float = "FLOAT"
    case boolean = "BOOLEAN"
    case uuid = "UUID"
    case hex = "HEX"
    case duration = "DURATION"
}

extension CQLType {
    /// Whether a constant of this kind is allowed for the type.
    public func accepts(_ kind: ConstantKind) -> Bool {
        switch kind {
        case .string:
            switch self {
            case .ascii, .text, .inet, .date, .time, .timestamp: true
            default: false
            }
        case .integer:
            switch self {
            case .bigint, .counter, .date, .decimal, .double, .duration, .float, .int, .smallint, .time, .timestamp,
                .tinyint, .varint:
                true
            default: false
            }
        case .float:
            switch self {
            case .decimal, .double, .float: true
            default: false
            }
        case .boolean: self == .boolean
        case .uuid: self == .uuid || self == .timeuuid
        case .hex: self == .blob
        case .duration: self == .duration
        }
    }

    /// Converts a scalar from text to native bytes: a number, a UUID, a blob as 0x and hexadecimal digits, or the text
    /// itself.
    /// - Throws: with Cassandra's message, when the text does not fit the type or the type is a collection or tuple.
    public func bytes(fromScalarText text: String) throws(ValueError) -> [UInt8] {
        func failure(_ what: String) -> ValueError { .invalid("Unable to make \(what) from '\(text)'") }
        switch self {
        case .text: return Array(text.utf8)
        case .ascii:
            guard text.utf8.allSatisfy({ $0 < 128 }) else {
                throw .invalid("Invalid ASCII character in string literal: \(text)")
            }
            return Array(text.utf8)
        case .int:
            guard let value = Int32(text) else { throw failure("int") }
            return Self.bigEndian(value)
        case .bigint, .counter:
            guard let value = Int64(text) else { throw failure("long") }
            return Self.bigEndian(value)
        case .smallint:
            guard let value = Int16(text) else { throw failure("short") }
            return Self.bigEndian(value)
        case .tinyint:
            guard let value = Int8(text) else { throw failure("byte") }
            return Self.bigEndian(value)
        case .double:
            guard let value = Self.parseDouble(text) else { throw failure("double") }
            return Self.bigEndian(value.bitPattern)
        case .float:
            guard let value = Self.parseFloat(text) else { throw failure("float") }
            return Self.bigEndian(value.bitPattern)
        case .boolean:
            switch text.lowercased() {
            case "true": return [1]
            case "false": return [0]
            default: throw failure("boolean")
            }
        case .varint:
            guard let value = BigInteger(text) else { throw .invalid("unable to make int from '\(text)'") }
            return value.native
        case .decimal:
            guard let value = BigDecimal(text) else { throw .invalid("unable to make BigDecimal from '\(text)'") }
            return value.native
        case .uuid:
            guard let value = UUID(text) else { throw failure("UUID") }
            return value.bytes
        case .timeuuid:
            guard let value = UUID(text) else { throw .invalid("Unknown timeuuid representation: \(text)") }
            guard value.version == 1 else { throw .invalid("TimeUUID supports only version 1 UUIDs") }
            return value.bytes
        case .blob:
            let digits = text.hasPrefix("0x") || text.hasPrefix("0X") ? text.utf8.dropFirst(2) : text.utf8[...]
            guard let bytes = HexText.decode(digits) else { throw .invalid("cannot parse '\(text)' as hex bytes") }
            return bytes
        case .inet:
            guard let bytes = InternetAddress.parse(text) else { throw failure("inet address") }
            return bytes
        case .date: return Self.bigEndian(try DateTimeText.parseDate(text))
        case .time: return Self.bigEndian(try DateTimeText.parseTime(text))
        case .timestamp: return Self.bigEndian(try DateTimeText.parseTimestamp(text))
        case .duration: return try DurationValue(text).native
        case .frozen(let inner): return try inner.bytes(fromScalarText: text)
        case .list, .set, .map, .tuple: throw .invalid("'\(text)' is not a value of type \(self)")
        }
    }

    /// Returns the big-endian bytes of an integer: the native form of every integer type.
    @inlinable public static func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    static func isDecimalNumber(_ text: String) -> Bool {
        text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x2b, 0x2d, 0x2e, 0x45, 0x65: true
            default: false
            }
        }
    }

    /// Parses decimal digits, or `NaN` and `Infinity` in any case, but not Swift's hexadecimal and other spellings.
    static func parseDouble(_ text: String) -> Double? {
        if isDecimalNumber(text) { return Double(text) }
        switch text.lowercased() {
        case "nan", "-nan": return .nan
        case "infinity": return .infinity
        case "-infinity": return -.infinity
        default: return nil
        }
    }

    static func parseFloat(_ text: String) -> Float? {
        if isDecimalNumber(text) { return Float(text) }
        return parseDouble(text).map { Float($0) }
    }
}
