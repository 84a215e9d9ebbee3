import DataModel

extension Planner {
    // MARK: SET

    mutating func operation(
        _ assignment: ModificationStatement.Assignment, _ table: TableMetadata
    ) throws(ServerError) -> ColumnOperation {
        switch assignment {
        case .set(let name, let expression):
            let column = try assignable(name, table)
            return ColumnOperation(column: column, action: try setAction(column, expression, table))
        case .add(let name, let expression):
            let column = try assignable(name, table)
            return ColumnOperation(
                column: column,
                action: try addition(column, expression, table, "\(name) = \(name) + \(expression.text)"))
        case .subtract(let name, let expression):
            let column = try assignable(name, table)
            return ColumnOperation(
                column: column,
                action: try subtraction(column, expression, table, "\(name) = \(name) - \(expression.text)"))
        case .element(let name, let key, let expression):
            let column = try assignable(name, table)
            return ColumnOperation(column: column, action: try elementAction(column, key, expression, table))
        case .field(let name, let field, let expression):
            throw .invalid("Invalid operation (\(name).\(field) = \(expression.text)) for non-UDT column \(name)")
        }
    }

    private func assignable(_ name: String, _ table: TableMetadata) throws(ServerError) -> ColumnMetadata {
        let column = try Self.column(name, in: table)
        if column.isPrimaryKey { throw .invalid("PRIMARY KEY part \(name) found in SET part") }
        return column
    }

    /// Resolves `c = value`, and forms such as `c = c + value` that refer to the column itself.
    private mutating func setAction(
        _ column: ColumnMetadata, _ expression: Expression, _ table: TableMetadata
    ) throws(ServerError) -> ColumnOperation.Action {
        let text = "\(column.name) = \(expression.text)"
        if case .binary(let symbol, let left, let right) = expression {
            if case .column(column.name) = left {
                switch symbol {
                case .add: return try addition(column, right, table, text)
                case .subtract: return try subtraction(column, right, table, text)
                default: throw .invalid("Invalid operation (\(text)) for column \(column.name)")
                }
            }
            if case .column(column.name) = right, symbol == .add { return try prepending(column, left, table, text) }
            // `c = c + 1 + 2` is left-associative, so the column is the leftmost operand.
            if let rest = Self.withoutLeading(column.name, expression) {
                return try addition(column, rest, table, text)
            }
        }
        if let named = Self.namedColumn(expression) {
            throw .invalid(
                "Only expressions of the form X = X + <value> or X = X - <value> are supported (got \(column.name) = \(named) ...)"
            )
        }
        if column.type == .counter {
            throw .invalid(
                "Cannot set the value of counter column \(column.name) (counters can only be incremented/decremented, not set)"
            )
        }
        return .set(try term(expression, for: Receiver(column, in: table)))
    }

    private static func withoutLeading(_ name: String, _ expression: Expression) -> Expression? {
        guard case .binary(let symbol, let left, let right) = expression, symbol == .add || symbol == .subtract else {
            return nil
        }
        let signed: Expression = symbol == .add ? right : .negate(right)
        if case .column(name) = left { return signed }
        guard let rest = withoutLeading(name, left) else { return nil }
        return .binary(symbol, rest, right)
    }

    private static func namedColumn(_ expression: Expression) -> String? {
        switch expression {
        case .column(let name): name
        case .binary(_, let left, let right): namedColumn(left) ?? namedColumn(right)
        case .negate(let inner): namedColumn(inner)
        default: nil
        }
    }

    private func requireMultiCell(_ column: ColumnMetadata, _ text: String) throws(ServerError) {
        if column.type.isMultiCell { return }
        if column.type.isCollection {
            throw .invalid("Invalid operation (\(text)) for frozen collection column \(column.name)")
        }
        throw .invalid("Invalid operation (\(text)) for non counter column \(column.name)")
    }

    private mutating func addition(
        _ column: ColumnMetadata, _ expression: Expression, _ table: TableMetadata, _ text: String
    ) throws(ServerError) -> ColumnOperation.Action {
        let receiver = Receiver(column, in: table)
        if column.type == .counter { return .increment(try term(expression, for: receiver)) }
        try requireMultiCell(column, text)
        let term = try term(expression, for: receiver)
        if case .list = column.type { return .append(term) }
        return .add(term)
    }

    private mutating func prepending(
        _ column: ColumnMetadata, _ expression: Expression, _ table: TableMetadata, _ text: String
    ) throws(ServerError) -> ColumnOperation.Action {
        if column.type == .counter {
            return .increment(try term(expression, for: Receiver(column, in: table)))
        }
        try requireMultiCell(column, text)
        guard case .list = column.type else {
            throw .invalid("Invalid operation (\(text)) for non list column \(column.name)")
        }
        return .prepend(try term(expression, for: Receiver(column, in: table)))
    }

    private mutating func subtraction(
        _ column: ColumnMetadata, _ expression: Expression, _ table: TableMetadata, _ text: String
    ) throws(ServerError) -> ColumnOperation.Action {
        let receiver = Receiver(column, in: table)
        if column.type == .counter { return .decrement(try term(expression, for: receiver)) }
        try requireMultiCell(column, text)
        // Subtracting from a map removes keys.
        if case .map(let key, _) = column.type {
            return .remove(try term(expression, for: receiver.with(name: receiver.name, type: .set(key))))
        }
        return .remove(try term(expression, for: receiver))
    }

    private mutating func elementAction(
        _ column: ColumnMetadata, _ key: Expression, _ expression: Expression, _ table: TableMetadata
    ) throws(ServerError) -> ColumnOperation.Action {
        let text = "\(column.name)[\(key.text)] = \(expression.text)"
        let (keyReceiver, valueType) = try elementReceiver(column, table, text, forSet: false)
        let keyTerm = try term(key, for: keyReceiver)
        let valueTerm = try term(
            expression, for: Receiver(column, in: table).with(name: "value(\(column.name))", type: valueType))
        return .setElement(key: keyTerm, value: valueTerm)
    }

    /// Returns the receiver for an element's key, and the type of the element.
    private func elementReceiver(
        _ column: ColumnMetadata, _ table: TableMetadata, _ text: String, forSet: Bool
    ) throws(ServerError) -> (Receiver, CQLType) {
        let receiver = Receiver(column, in: table)
        switch column.type {
        case .list(let element): return (receiver.with(name: "idx(\(column.name))", type: .int), element)
        case .map(let key, let value): return (receiver.with(name: "key(\(column.name))", type: key), value)
        case .set(let element):
            guard forSet else { throw .invalid("Invalid operation (\(text)) for set column \(column.name)") }
            return (receiver.with(name: "value(\(column.name))", type: element), element)
        default:
            if column.type.isCollection {
                throw .invalid("Invalid operation (\(text)) for frozen collection column \(column.name)")
            }
            throw .invalid("Invalid operation (\(text)) for non collection column \(column.name)")
        }
    }

    // MARK: DELETE

    mutating func operation(
        _ deletion: ModificationStatement.Deletion, _ table: TableMetadata
    ) throws(ServerError) -> ColumnOperation {
        switch deletion {
        case .column(let name): return ColumnOperation(column: try deletable(name, table), action: .delete)
        case .element(let name, let key):
            let column = try deletable(name, table)
            if !column.type.isMultiCell {
                throw .invalid(
                    column.type.isCollection
                        ? "Invalid deletion operation for frozen collection column \(name)"
                        : "Invalid deletion operation for non collection column \(name)")
            }
            let (receiver, _) = try elementReceiver(column, table, "\(name)[\(key.text)]", forSet: true)
            return ColumnOperation(column: column, action: .deleteElement(key: try term(key, for: receiver)))
        case .field(let name, let field):
            throw .invalid("Invalid field deletion operation (\(name).\(field)) for non-UDT column \(name)")
        }
    }

    private func deletable(_ name: String, _ table: TableMetadata) throws(ServerError) -> ColumnMetadata {
        let column = try Self.column(name, in: table)
        if column.isPrimaryKey {
            throw .invalid("Invalid identifier \(name) for deletion (should not be a PRIMARY KEY part)")
        }
        return column
    }
}
