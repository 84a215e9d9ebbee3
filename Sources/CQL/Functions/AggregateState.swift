import DataModel

/// The state of an aggregate function over a group of rows.
public struct AggregateState: Sendable {
    private let function: AggregateFunction
    private var count: Int64 = 0
    private var extreme: [UInt8]?
    private var floating = 0.0
    private var integer = BigInteger.zero
    private var wrapping: Int64 = 0
    private var decimal = BigDecimal.zero

    public init(_ function: AggregateFunction) { self.function = function }

    /// Adds the argument's value of one row. Nulls are ignored, except by `count(*)`, which gets nil for every row.
    /// - Throws: Invalid when the exponents of two decimals are too far apart to add.
    public mutating func add(_ value: UnsafeRawBufferPointer?) throws(ServerError) {
        if function.operation == .countRows {
            count += 1
            return
        }
        guard let value, let type = function.argumentType else { return }
        switch function.operation {
        case .countRows: return
        case .count: count += 1
        case .min, .max:
            if let best = extreme {
                let order = best.withUnsafeBytes { type.compare(value, $0) }
                if function.operation == .min ? order < 0 : order > 0 { extreme = Array(value) }
            } else {
                extreme = Array(value)
            }
        case .sum, .average:
            guard !value.isEmpty, let number = Number(Array(value), type) else { return }
            count += 1
            switch number {
            case .integer(let value):
                wrapping &+= value
                if function.operation == .average { integer = integer + BigInteger(value) }
            case .big(let value): integer = integer + value
            case .float, .double: floating += number.double
            case .decimal(let value):
                guard let sum = decimal.adding(value) else {
                    throw .invalid("the exponents of \(decimal) and \(value) are too far apart")
                }
                decimal = sum
            }
        }
    }

    /// Returns the result in native bytes. `min` and `max` of no values are null (nil); sums and averages are zero.
    public func result() throws(ServerError) -> [UInt8]? {
        do throws(ValueError) {
            switch function.operation {
            case .countRows, .count: return CQLType.bigEndian(count)
            case .min, .max: return extreme
            case .sum:
                switch function.returnType {
                case .float, .double: return try Number.double(floating).bytes(of: function.returnType)
                case .varint: return integer.native
                case .decimal: return decimal.native
                default: return try Number.integer(wrapping).bytes(of: function.returnType)
                }
            case .average:
                let divisor = BigInteger(max(count, 1))
                switch function.returnType {
                case .float, .double:
                    return try Number.double(count == 0 ? 0 : floating / Double(count)).bytes(of: function.returnType)
                case .decimal:
                    let quotient = decimal.divided(
                        by: BigDecimal(unscaled: divisor, scale: 0), scale: Int(decimal.scale), halfEven: true)
                    return (quotient ?? .zero).native
                default:
                    let quotient = integer.dividedBy(divisor)?.quotient ?? .zero
                    return try Number.big(quotient).bytes(of: function.returnType)
                }
            }
        } catch { throw error.serverError }
    }
}
