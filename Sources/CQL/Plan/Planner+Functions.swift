import DataModel

extension Planner {
    /// Resolves an expression that determines its own type.
    mutating func typed(_ expression: Expression) throws(ServerError) -> ResolvedExpression {
        switch expression {
        case .column(let name):
            guard let table = scope.table else {
                throw .syntax(
                    "no viable alternative at input '\(name)': a constant, marker or function is expected, not a column"
                )
            }
            let column = try Self.column(name, in: table)
            return ResolvedExpression(.column(scope.index(of: column)), column.type)
        case .countRows:
            try refuseAggregateHere("count")
            let function = AggregateFunction(
                name: "count", operation: .countRows, argumentType: nil, returnType: .bigint)
            return aggregate(function, nil)
        case .call(let keyspace, let name, let arguments):
            if let keyspace, keyspace != "system" { throw .invalid("Unknown function '\(keyspace).\(name)'") }
            return try call(name, arguments)
        case .cast(let inner, let typeName):
            let target = try typeName.resolved(keyspace: keyspace)
            let value = try operand(inner)
            guard ValueCast.isAllowed(from: value.type, to: target) else {
                throw .invalid("\(value.type) cannot be cast to \(target)")
            }
            if value.type == target { return value }
            let function = ScalarFunction(
                name: "castas\(target)", operation: .cast, argumentTypes: [value.type], returnType: target)
            return try apply(function, [value])
        case .typeHint(let typeName, let inner):
            let type = try typeName.resolved(keyspace: keyspace)
            return try resolve(inner, for: Receiver(keyspace: "system", table: "", name: inner.text, type: type))
        case .binary, .negate: return try arithmetic(expression, expected: nil)
        case .element(let inner, let key): return try element(inner, key)
        case .slice(let inner, let from, let to): return try slice(inner, from, to)
        case .tuple(let elements) where elements.count == 1: return try typed(elements[0])
        case .tuple(let elements):
            var parts: [ResolvedExpression] = []
            for element in elements { parts.append(try typed(element)) }
            return ResolvedExpression(.tuple(parts.map(\.selector)), .tuple(parts.map { $0.type.asFrozen }))
        case .list(let elements) where !elements.isEmpty:
            let first = try typed(elements[0])
            let receiver = anonymous(expression, first.type.asFrozen)
            var parts = [first]
            for element in elements.dropFirst() { parts.append(try resolve(element, for: receiver)) }
            return try combine(parts, .list(first.type.asFrozen), term: { .list($0) }, selector: { .list($0) })
        case .set(let elements) where !elements.isEmpty:
            let first = try typed(elements[0])
            let receiver = anonymous(expression, first.type.asFrozen)
            let type = CQLType.set(first.type.asFrozen)
            var parts = [first]
            for element in elements.dropFirst() { parts.append(try resolve(element, for: receiver)) }
            return try combine(parts, type, term: { .set($0) }, selector: { .set($0, type) })
        case .map(let entries) where !entries.isEmpty:
            let key = try typed(entries[0].key)
            let value = try typed(entries[0].value)
            let type = CQLType.map(key.type.asFrozen, value.type.asFrozen)
            var parts = [key, value]
            for (name, member) in entries.dropFirst() {
                parts.append(try resolve(name, for: anonymous(expression, key.type.asFrozen)))
                parts.append(try resolve(member, for: anonymous(expression, value.type.asFrozen)))
            }
            return try combine(parts, type, term: { .map(Self.pairs($0)) }, selector: { .map(Self.pairs($0), type) })
        case .field(let inner, let name):
            throw .invalid("Invalid field selection: \(inner.text) of field \(name) is not a user-defined type")
        case .constant, .null, .marker, .list, .set, .map:
            throw .invalid(
                "Cannot infer type for term \(expression.text) in selection clause (try using a cast to force a type)")
        }
    }

    func anonymous(_ expression: Expression, _ type: CQLType) -> Receiver {
        Receiver(keyspace: "system", table: "", name: expression.text, type: type)
    }

    /// Resolves an operand: an expression with its own type, or a constant with its default type.
    mutating func operand(_ expression: Expression) throws(ServerError) -> ResolvedExpression {
        guard case .constant(let kind, let text) = expression else {
            if case .tuple(let elements) = expression, elements.count == 1 { return try operand(elements[0]) }
            return try typed(expression)
        }
        let type: CQLType
        switch kind {
        case .integer: type = Int32(text) != nil ? .int : Int64(text) != nil ? .bigint : .varint
        case .float: type = .double
        case .string: type = .text
        case .boolean: type = .boolean
        case .uuid: type = .uuid
        case .hex: type = .blob
        case .duration: type = .duration
        }
        return try resolve(expression, for: anonymous(expression, type))
    }

    /// Applies a function; evaluates it immediately when all arguments are constant.
    mutating func apply(_ function: ScalarFunction, _ arguments: [ResolvedExpression]) throws(ServerError)
        -> ResolvedExpression
    {
        var terms: [Term] = []
        for argument in arguments {
            guard let term = argument.term else {
                return ResolvedExpression(.call(function, arguments.map(\.selector)), function.returnType)
            }
            terms.append(term)
        }
        // Among the selected columns it is called for each row.
        if function.givesAnotherValueEachTime, scope.table == nil {
            generatedCalls += 1
            return ResolvedExpression(Term(type: function.returnType, node: .generated(generatedCalls, function)))
        }
        return ResolvedExpression(try Self.folded(Term(type: function.returnType, node: .call(function, terms))))
    }

    // MARK: Calls

    private mutating func call(_ name: String, _ arguments: [Expression]) throws(ServerError) -> ResolvedExpression {
        switch name {
        case "writetime", "ttl", "maxwritetime": return try cellProperty(name, arguments)
        case "count", "min", "max", "sum", "avg": return try aggregate(name, arguments)
        case "tojson":
            try expect(arguments, 1, name)
            let value = try operand(arguments[0])
            let function = ScalarFunction(
                name: name, operation: .toJSON, argumentTypes: [value.type], returnType: .text)
            return try apply(function, [value])
        case "fromjson": throw .invalid("fromJson() cannot be used in the selection clause of a SELECT statement")
        case "token": return try token(arguments)
        default: break
        }
        guard let candidates = FunctionCatalog.signatures(of: name) else {
            throw .invalid("Unknown function '\(name)'")
        }
        let wanted = candidates[0].argumentTypes.count
        try expect(arguments, wanted, name)
        // Resolve an argument with a type of its own only once, however many signatures there are.
        var resolved: [ResolvedExpression?] = []
        for argument in arguments {
            switch argument {
            case .constant, .marker, .null, .list, .set, .map, .tuple, .binary, .negate: resolved.append(nil)
            default: resolved.append(try typed(argument))
            }
        }
        let fitting = candidates.filter { candidate in
            for (index, type) in candidate.argumentTypes.enumerated() {
                if let value = resolved[index] {
                    if !Self.isAssignable(value.type, to: type) { return false }
                } else if case .constant(let kind, _) = arguments[index], !type.accepts(kind) {
                    return false
                }
            }
            return true
        }
        guard !fitting.isEmpty else {
            if candidates.count == 1 {
                throw .invalid(
                    "Type error: \(arguments[0].text) cannot be passed as argument 0 of function system.\(name) of type \(candidates[0].argumentTypes[0])"
                )
            }
            throw .invalid(
                "Invalid call to function \(name), none of its type signatures match (known type signatures: \(FunctionCatalog.describe(candidates)))"
            )
        }
        let exact = fitting.first { candidate in zip(candidate.argumentTypes, resolved).allSatisfy { $0 == $1?.type } }
        let literal = arguments.contains { if case .marker = $0 { true } else { false } }
        guard exact != nil || fitting.count == 1 || !literal else {
            throw .invalid(
                "Ambiguous call to function \(name) (can be matched by following signatures: \(FunctionCatalog.describe(fitting))): use type casts to disambiguate"
            )
        }
        let function = exact ?? fitting[0]
        var values: [ResolvedExpression] = []
        for (index, argument) in arguments.enumerated() {
            if let value = resolved[index] {
                values.append(value)
            } else {
                let receiver = Receiver(
                    keyspace: "system", table: name, name: "arg\(index)(system.\(name))",
                    type: function.argumentTypes[index])
                values.append(try resolve(argument, for: receiver))
            }
        }
        return try apply(function, values)
    }

    private func expect(_ arguments: [Expression], _ count: Int, _ name: String) throws(ServerError) {
        guard arguments.count == count else {
            throw .invalid(
                "Invalid number of arguments in call to function system.\(name): \(count) required but \(arguments.count) provided"
            )
        }
    }

    private mutating func token(_ arguments: [Expression]) throws(ServerError) -> ResolvedExpression {
        guard let table = scope.table ?? tokenTable else { throw .invalid("token() needs a table") }
        try expect(arguments, table.partitionKey.count, "token")
        var values: [ResolvedExpression] = []
        for (argument, column) in zip(arguments, table.partitionKey) {
            values.append(try resolve(argument, for: Receiver(column, in: table)))
        }
        let function = ScalarFunction(
            name: "token", operation: .token, argumentTypes: table.partitionKey.map(\.type), returnType: .bigint)
        return try apply(function, values)
    }

    mutating func fromJSON(_ arguments: [Expression], for receiver: Receiver) throws(ServerError) -> ResolvedExpression
    {
        try expect(arguments, 1, "fromjson")
        let text = try resolve(
            arguments[0],
            for: Receiver(keyspace: "system", table: "fromjson", name: "arg0(system.fromjson)", type: .text))
        let function = ScalarFunction(
            name: "fromjson", operation: .fromJSON, argumentTypes: [.text], returnType: receiver.type)
        return try apply(function, [text])
    }

    /// Resolves `writetime(column)` and `ttl(column)`.
    private mutating func cellProperty(_ name: String, _ arguments: [Expression]) throws(ServerError)
        -> ResolvedExpression
    {
        guard let table = scope.table else { throw .invalid("Unknown function '\(name)'") }
        guard arguments.count == 1, case .column(let columnName) = arguments[0] else {
            throw .invalid("\(name)() takes the name of one column")
        }
        let column = try Self.column(columnName, in: table)
        if column.isPrimaryKey {
            throw .invalid("Cannot use selection function \(name) on PRIMARY KEY part \(columnName)")
        }
        if column.type.isMultiCell {
            throw .invalid("Cannot use selection function \(name) on non-frozen collection \(columnName)")
        }
        let index = scope.index(of: column)
        return name == "ttl"
            ? ResolvedExpression(.timeToLive(index), .int) : ResolvedExpression(.writeTime(index), .bigint)
    }

    // MARK: Aggregates

    private func refuseAggregateHere(_ name: String) throws(ServerError) {
        if scope.table == nil { throw .invalid("Aggregation functions are not supported in the where clause: \(name)") }
        if scope.isInsideAggregate {
            throw .invalid("aggregate functions cannot be used as arguments of aggregate functions")
        }
    }

    private mutating func aggregate(_ function: AggregateFunction, _ argument: Selector?) -> ResolvedExpression {
        scope.aggregates.append(Aggregate(function: function, argument: argument))
        return ResolvedExpression(.aggregate(scope.aggregates.count - 1), function.returnType)
    }

    private mutating func aggregate(_ name: String, _ arguments: [Expression]) throws(ServerError) -> ResolvedExpression
    {
        try refuseAggregateHere(name)
        try expect(arguments, 1, name)
        scope.isInsideAggregate = true
        defer { scope.isInsideAggregate = false }
        let value = try operand(arguments[0])
        let operation: AggregateFunction.Operation
        var type = value.type
        switch name {
        case "count": (operation, type) = (.count, .bigint)
        case "min": operation = .min
        case "max": operation = .max
        default:
            operation = name == "sum" ? .sum : .average
            guard type.isNumeric else {
                throw .invalid(
                    "Invalid call to function \(name), none of its type signatures match (known type signatures: system.\(name) : (number) -> number)"
                )
            }
        }
        return aggregate(
            AggregateFunction(name: name, operation: operation, argumentType: value.type, returnType: type),
            value.selector)
    }

    // MARK: Elements of collections

    private mutating func element(_ inner: Expression, _ key: Expression) throws(ServerError) -> ResolvedExpression {
        let collection = try typed(inner)
        let receiver = anonymous(inner, collection.type)
        switch collection.type.unfrozen {
        case .map(let keyType, let valueType):
            let key = try rowIndependentTerm(key, for: receiver.with(name: "key(\(inner.text))", type: keyType))
            return ResolvedExpression(.element(collection.selector, key: key, type: collection.type), valueType)
        case .set(let elementType):
            let key = try rowIndependentTerm(key, for: receiver.with(name: "key(\(inner.text))", type: elementType))
            return ResolvedExpression(.element(collection.selector, key: key, type: collection.type), elementType)
        case .list: throw .invalid("Element selection is only allowed on sets and maps, but \(inner.text) is a list")
        default:
            throw .invalid("Invalid element selection: \(inner.text) is of type \(collection.type) is not a collection")
        }
    }

    private mutating func slice(_ inner: Expression, _ from: Expression?, _ to: Expression?) throws(ServerError)
        -> ResolvedExpression
    {
        let collection = try typed(inner)
        let keyType: CQLType
        switch collection.type.unfrozen {
        case .map(let key, _): keyType = key
        case .set(let element): keyType = element
        case .list: throw .invalid("Slice selection is only allowed on sets and maps, but \(inner.text) is a list")
        default: throw .invalid("Invalid slice selection: \(inner.text) of type \(collection.type) is not a collection")
        }
        let receiver = anonymous(inner, keyType)
        let lower: Term? = if let from { try rowIndependentTerm(from, for: receiver) } else { nil }
        let upper: Term? = if let to { try rowIndependentTerm(to, for: receiver) } else { nil }
        return ResolvedExpression(
            .slice(collection.selector, from: lower, to: upper, type: collection.type), collection.type)
    }

    /// Resolves a term inside a selector; it may not name columns.
    private mutating func rowIndependentTerm(_ expression: Expression, for receiver: Receiver) throws(ServerError)
        -> Term
    {
        let table = scope.table
        scope.table = nil
        defer { scope.table = table }
        return try term(expression, for: receiver)
    }
}
