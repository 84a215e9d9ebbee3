import DataModel
import Primitives

/// The operators `+ - * / %` and negation.
enum Arithmetic {
    /// Returns the result type of an operation on two types; nil when they do not combine (CQL 3.4.5, "Arithmetic
    /// operators").
    static func resultType(_ a: CQLType, _ b: CQLType) -> CQLType? {
        guard a.isNumeric, b.isNumeric else { return nil }
        let (a, b) = (a == .counter ? .bigint : a, b == .counter ? .bigint : b)
        let order: [CQLType] = [.tinyint, .smallint, .int, .bigint]
        if let x = order.firstIndex(of: a), let y = order.firstIndex(of: b) { return order[max(x, y)] }
        if a == .decimal || b == .decimal { return .decimal }
        let floating: Set<CQLType> = [.float, .double]
        if floating.contains(a) || floating.contains(b) {
            if a == .varint || b == .varint { return .decimal }
            return a == .float && b == .float
                || [a, b].contains(.float) && [a, b].allSatisfy { [.float, .tinyint, .smallint, .int].contains($0) }
                ? (a == b || ![a, b].contains(.int) ? .float : .double) : .double
        }
        return .varint
    }

    static func compute(
        _ operation: ScalarFunction.Operation, _ arguments: [[UInt8]], _ types: [CQLType], _ type: CQLType
    ) throws(ValueError) -> [UInt8]? {
        if operation != .negate, types[0] == .timestamp || types[0] == .date {
            return try shift(operation, arguments, types)
        }
        guard let a = Number(arguments[0], types[0]) else { return nil }
        if operation == .negate {
            switch type {
            case .float: return CQLType.bigEndian((-Float(a.double)).bitPattern)
            case .double: return CQLType.bigEndian((-a.double).bitPattern)
            case .varint: return (-(try a.big())).native
            case .decimal:
                let value = try a.decimal()
                return BigDecimal(unscaled: -value.unscaled, scale: value.scale).native
            default: return try Number.integer(0 &- a.int64).bytes(of: type)
            }
        }
        guard let b = Number(arguments[1], types[1]) else { return nil }
        switch type {
        case .float: return CQLType.bigEndian(floating(operation, Float(a.double), Float(b.double)).bitPattern)
        case .double: return CQLType.bigEndian(floating(operation, a.double, b.double).bitPattern)
        case .varint: return try big(operation, try a.big(), try b.big()).native
        case .decimal: return try decimal(operation, try a.decimal(), try b.decimal()).native
        default: return try Number.integer(try integer(operation, a.int64, b.int64)).bytes(of: type)
        }
    }

    private static let divisionByZero = ValueError.invalid("the operation failed: / by zero")

    private static func floating<T: BinaryFloatingPoint>(_ operation: ScalarFunction.Operation, _ a: T, _ b: T) -> T {
        switch operation {
        case .add: a + b
        case .subtract: a - b
        case .multiply: a * b
        case .divide: a / b
        default: a.truncatingRemainder(dividingBy: b)
        }
    }

    /// Overflow wraps around, as in Java.
    private static func integer(_ operation: ScalarFunction.Operation, _ a: Int64, _ b: Int64) throws(ValueError)
        -> Int64
    {
        switch operation {
        case .add: return a &+ b
        case .subtract: return a &- b
        case .multiply: return a &* b
        case .divide:
            guard b != 0 else { throw divisionByZero }
            return a.dividedReportingOverflow(by: b).partialValue
        default:
            guard b != 0 else { throw divisionByZero }
            return a.remainderReportingOverflow(dividingBy: b).partialValue
        }
    }

    private static func big(_ operation: ScalarFunction.Operation, _ a: BigInteger, _ b: BigInteger) throws(ValueError)
        -> BigInteger
    {
        switch operation {
        case .add: return a + b
        case .subtract: return a - b
        case .multiply: return a * b
        default:
            guard let (quotient, remainder) = a.dividedBy(b) else { throw divisionByZero }
            return operation == .divide ? quotient : remainder
        }
    }

    private static func decimal(_ operation: ScalarFunction.Operation, _ a: BigDecimal, _ b: BigDecimal)
        throws(ValueError) -> BigDecimal
    {
        let result: BigDecimal?
        switch operation {
        case .add: result = a.adding(b)
        case .subtract: result = a.subtracting(b)
        case .multiply: result = a.multiplied(by: b)
        default:
            if b.unscaled.isZero { throw divisionByZero }
            result = operation == .divide ? a.divided(by: b) : a.remainder(dividingBy: b)
        }
        guard let result else { throw .invalid("the exponents of \(a) and \(b) are too far apart") }
        return result
    }

    /// Adds a duration to, or subtracts it from, a timestamp or date.
    private static func shift(_ operation: ScalarFunction.Operation, _ arguments: [[UInt8]], _ types: [CQLType])
        throws(ValueError)
        -> [UInt8]?
    {
        let duration = try arguments[1].withUnsafeBytesTyped { (raw) throws(ValueError) in
            try DurationValue(native: raw)
        }
        guard let start = TimeConversion.milliseconds(arguments[0], of: types[0]) else { return nil }
        let sign: Int64 = operation == .subtract ? -1 : 1
        let dayLength: Int64 = 86_400_000
        var days = start / dayLength - (start % dayLength < 0 ? 1 : 0)
        let withinDay = start - days * dayLength
        var date = CalendarDate(daysSinceEpoch: Int(days))
        let months = date.year * 12 + date.month - 1 + Int(sign) * Int(duration.months)
        date.year = months / 12 - (months % 12 < 0 ? 1 : 0)
        date.month = months - date.year * 12 + 1
        while !date.exists { date.day -= 1 }
        days = Int64(date.daysSinceEpoch) + sign * Int64(duration.days)
        if types[0] == .date {
            guard duration.nanoseconds == 0 else {
                throw .invalid("The duration must have a day precision. Was: \(duration)")
            }
            guard let raw = UInt32(exactly: days + (1 << 31)) else { throw .invalid("the date is out of range") }
            return CQLType.bigEndian(raw)
        }
        let (base, overflow) = days.multipliedReportingOverflow(by: dayLength)
        let (sum, overflow2) = base.addingReportingOverflow(withinDay + sign * (duration.nanoseconds / 1_000_000))
        guard !overflow, !overflow2 else { throw .invalid("the timestamp is out of range") }
        return CQLType.bigEndian(sum)
    }
}
