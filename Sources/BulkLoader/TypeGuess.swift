import DataModel

/// The narrowest type that fits all values of a column seen so far.
enum TypeGuess: Equatable, Sendable {
    case unknown, boolean, int, bigint, double, date, timestamp, text

    /// Returns the narrowest type of one field.
    static func of(_ field: UnsafeRawBufferPointer) -> TypeGuess {
        guard let first = field.first else { return .unknown }
        switch first {
        case 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."):
            let digits = first == UInt8(ascii: "-") || first == UInt8(ascii: "+") ? 1 : 0
            // A number with a leading zero is a code: stored as an integer it would lose the zero.
            if field.count - digits > 1, field[digits] == UInt8(ascii: "0"), (0x30...0x39).contains(field[digits + 1]) {
                return timeOrText(field)
            }
            if let value = NumberText.integer(field) { return Int32(exactly: value) != nil ? .int : .bigint }
            if let value = NumberText.double(field), value.isFinite { return .double }
            return timeOrText(field)
        case UInt8(ascii: "N"): return field.count == 3 && NumberText.double(field) != nil ? .double : .text
        default: return NumberText.boolean(field) != nil ? .boolean : .text
        }
    }

    private static func timeOrText(_ field: UnsafeRawBufferPointer) -> TypeGuess {
        guard field.count >= 10, field[4] == UInt8(ascii: "-") else { return .text }
        if TimeText.date(field) != nil { return .date }
        return TimeText.timestamp(field) != nil ? .timestamp : .text
    }

    /// Returns the narrowest type that fits both.
    func joined(_ other: TypeGuess) -> TypeGuess {
        if self == other || other == .unknown { return self }
        switch (self, other) {
        case (.unknown, _): return other
        case (.int, .bigint), (.bigint, .int): return .bigint
        case (.int, .double), (.double, .int), (.bigint, .double), (.double, .bigint): return .double
        case (.date, .timestamp), (.timestamp, .date): return .timestamp
        default: return .text
        }
    }

    /// The column type. A column without any value is text.
    var type: CQLType {
        switch self {
        case .boolean: .boolean
        case .int: .int
        case .bigint: .bigint
        case .double: .double
        case .date: .date
        case .timestamp: .timestamp
        case .text, .unknown: .text
        }
    }
}
