import DataModel

extension Planner {
    /// Resolves a sum, product, quotient or negation to the type that its operands give.
    mutating func arithmetic(_ expression: Expression, expected: Receiver?) throws(ServerError) -> ResolvedExpression {
        switch expression {
        case .negate(let inner):
            let value = try operand(inner, expected)
            guard value.type.isNumeric else {
                throw .invalid("the '-' operator is not supported for \(inner.text) of type \(value.type)")
            }
            let type = value.type == .counter ? CQLType.bigint : value.type
            return try apply(
                ScalarFunction(name: "_negate", operation: .negate, argumentTypes: [value.type], returnType: type),
                [value])
        case .binary(let symbol, let left, let right):
            let a = isUntyped(left) ? nil : try operand(left, expected)
            let b = isUntyped(right) ? nil : try operand(right, expected)
            let known = a?.type ?? b?.type ?? expected?.type
            let x = if let a { a } else { try literal(left, beside: known, symbol) }
            let y = if let b { b } else { try literal(right, beside: x.type, symbol) }
            let operation: ScalarFunction.Operation
            switch symbol {
            case .add: operation = .add
            case .subtract: operation = .subtract
            case .multiply: operation = .multiply
            case .divide: operation = .divide
            case .modulo: operation = .modulo
            }
            let isShift =
                (x.type == .timestamp || x.type == .date) && y.type == .duration
                && (symbol == .add || symbol == .subtract)
            guard let type = isShift ? x.type : Arithmetic.resultType(x.type, y.type) else {
                throw .invalid(
                    "the '\(symbol.rawValue)' operation is not supported between \(left.text) and \(right.text)")
            }
            return try apply(
                ScalarFunction(
                    name: "_\(operation)", operation: operation, argumentTypes: [x.type, y.type], returnType: type),
                [x, y])
        case .tuple(let elements) where elements.count == 1: return try arithmetic(elements[0], expected: expected)
        default: return try operand(expression, expected)
        }
    }

    private mutating func operand(_ expression: Expression, _ expected: Receiver?) throws(ServerError)
        -> ResolvedExpression
    {
        switch expression {
        case .binary, .negate: return try arithmetic(expression, expected: expected)
        case .tuple(let elements) where elements.count == 1: return try operand(elements[0], expected)
        default: return try operand(expression)
        }
    }

    private func isUntyped(_ expression: Expression) -> Bool {
        switch expression {
        case .constant, .marker: true
        default: false
        }
    }

    /// Resolves an operand that has no type of its own: a constant or bind marker takes the other operand's type if it
    /// fits.
    private mutating func literal(
        _ expression: Expression, beside type: CQLType?, _ symbol: Expression.BinaryOperator
    ) throws(ServerError) -> ResolvedExpression {
        guard var type else { return try operand(expression) }
        if type == .counter { type = .bigint }
        if case .constant(let kind, let text) = expression {
            if kind == .duration || !type.accepts(kind) || type == .timestamp || type == .date {
                return try operand(expression)
            }
            // An integer constant too large for the other operand's type keeps its own type.
            if kind == .integer, [.int, .smallint, .tinyint].contains(type), Int32(text) == nil {
                return try operand(expression)
            }
            if kind == .integer, [.smallint, .tinyint].contains(type), Int16(text) == nil {
                return try operand(expression)
            }
            if kind == .integer, type == .tinyint, Int8(text) == nil { return try operand(expression) }
        } else if type == .timestamp || type == .date {
            type = .duration
        }
        return try resolve(expression, for: anonymous(expression, type))
    }
}
