import DataModel

/// An expression with a known type: a term if it does not depend on a row, else a selector.
struct ResolvedExpression {
    enum Value {
        case term(Term)
        case selector(Selector)
    }
    var type: CQLType
    var value: Value

    init(_ term: Term) {
        type = term.type
        value = .term(term)
    }

    init(_ selector: Selector, _ type: CQLType) {
        self.type = type
        value = .selector(selector)
    }

    var selector: Selector {
        switch value {
        case .term(let term): .term(term)
        case .selector(let selector): selector
        }
    }

    var term: Term? { if case .term(let term) = value { term } else { nil } }
}

extension Planner {
    /// Resolves an expression that must not depend on a row, as a value for `receiver`.
    mutating func term(_ expression: Expression, for receiver: Receiver) throws(ServerError) -> Term {
        let resolved = try resolve(expression, for: receiver)
        guard let term = resolved.term else {
            throw .invalid("\(expression.text) depends on a row, which is not allowed for \(receiver.name)")
        }
        return term
    }

    /// Resolves an expression as a value for `receiver`; it may name columns only if the scope has a table.
    mutating func resolve(_ expression: Expression, for receiver: Receiver) throws(ServerError) -> ResolvedExpression {
        switch expression {
        case .constant(let kind, let text): return ResolvedExpression(try constant(kind, text, for: receiver))
        case .null: return ResolvedExpression(.null(receiver.type))
        case .marker(let index): return ResolvedExpression(marker(index, receiver))
        case .list(let elements): return try list(elements, expression, for: receiver)
        case .set(let elements): return try set(elements, expression, for: receiver)
        case .map(let entries): return try map(entries, expression, for: receiver)
        case .tuple(let elements): return try tuple(elements, expression, for: receiver)
        case .typeHint(let type, let inner):
            let hinted = try type.resolved(keyspace: keyspace)
            guard Self.isAssignable(hinted, to: receiver.type) else {
                throw .invalid("Cannot assign value \(expression.text) to \(receiver.name) of type \(receiver.type)")
            }
            return try resolve(inner, for: receiver.with(name: receiver.name, type: hinted))
        case .binary, .negate:
            let resolved = try arithmetic(expression, expected: receiver)
            try check(resolved.type, of: expression, fits: receiver)
            return resolved
        case .call(let keyspace, let name, let arguments):
            if keyspace == nil || keyspace == "system", name == "fromjson" {
                return try fromJSON(arguments, for: receiver)
            }
            let resolved = try typed(expression)
            guard Self.isAssignable(resolved.type, to: receiver.type) else {
                throw .invalid(
                    "Type error: cannot assign result of function system.\(name) (type \(resolved.type)) to \(receiver.name) (type \(receiver.type))"
                )
            }
            return resolved
        case .column, .countRows, .cast, .element, .slice, .field:
            let resolved = try typed(expression)
            try check(resolved.type, of: expression, fits: receiver)
            return resolved
        }
    }

    private func check(_ type: CQLType, of expression: Expression, fits receiver: Receiver) throws(ServerError) {
        guard Self.isAssignable(type, to: receiver.type) else {
            throw .invalid(
                "Type error: cannot assign \(expression.text) (type \(type)) to \(receiver.name) (type \(receiver.type))"
            )
        }
    }

    /// Whether the bytes of a value of `type` are also a valid value of `target`.
    static func isAssignable(_ type: CQLType, to target: CQLType) -> Bool {
        let (type, target) = (type.asFrozen, target.asFrozen)
        if type == target { return true }
        switch (type, target) {
        case (.ascii, .text), (.timeuuid, .uuid), (.int, .varint), (.bigint, .varint), (.counter, .bigint),
            (.bigint, .counter),
            (.timestamp, .bigint), (_, .blob):
            return true
        default: return false
        }
    }

    mutating func marker(_ index: Int, _ receiver: Receiver) -> Term {
        markers[index] = ColumnSpec(
            keyspace: receiver.keyspace, table: receiver.table, name: markerNames[index] ?? receiver.name,
            type: receiver.type)
        return .bind(index, receiver.type)
    }

    private func constant(_ kind: ConstantKind, _ text: String, for receiver: Receiver) throws(ServerError) -> Term {
        let type = receiver.type.unfrozen
        guard type.accepts(kind) else {
            throw .invalid(
                "Invalid \(kind.rawValue) constant (\(text)) for \"\(receiver.name)\" of type \(receiver.type)")
        }
        do throws(ValueError) { return .constant(try type.bytes(fromScalarText: text), receiver.type) } catch {
            throw error.serverError
        }
    }

    // MARK: Collections and tuples

    private mutating func elements(
        _ elements: [Expression], of type: CQLType, what: String, for receiver: Receiver
    ) throws(ServerError) -> [ResolvedExpression] {
        var resolved: [ResolvedExpression] = []
        resolved.reserveCapacity(elements.count)
        let inner = receiver.with(name: "value(\(receiver.name))", type: type)
        for element in elements {
            if case .null = element { throw .invalid("null is not supported inside collections") }
            if case .constant(let kind, _) = element, !type.unfrozen.accepts(kind) {
                throw .invalid(
                    "Invalid \(what) literal for \(receiver.name): value \(element.text) is not of type \(type)")
            }
            resolved.append(try resolve(element, for: inner))
        }
        return resolved
    }

    /// Combines parts into a constant if all are constant, into a selector if one is a selector, else into a term.
    func combine(
        _ parts: [ResolvedExpression], _ type: CQLType, term: ([Term]) -> Term.Node, selector: ([Selector]) -> Selector
    ) throws(ServerError) -> ResolvedExpression {
        var terms: [Term] = []
        for part in parts {
            guard let term = part.term else { return ResolvedExpression(selector(parts.map(\.selector)), type) }
            terms.append(term)
        }
        return ResolvedExpression(try Self.folded(Term(type: type, node: term(terms))))
    }

    /// Evaluates a constant term.
    static func folded(_ term: Term) throws(ServerError) -> Term {
        guard term.isConstant else { return term }
        var context = EvaluationContext()
        guard let bytes = try term.evaluate(ValueList(), &context) else { return .null(term.type) }
        return .constant(bytes, term.type)
    }

    private mutating func list(
        _ elements: [Expression], _ expression: Expression, for receiver: Receiver
    ) throws(ServerError) -> ResolvedExpression {
        guard case .list(let type) = receiver.type.unfrozen else {
            throw .invalid("Invalid list literal for \(receiver.name) of type \(receiver.type)")
        }
        let parts = try self.elements(elements, of: type, what: "list", for: receiver)
        return try combine(parts, receiver.type, term: { .list($0) }, selector: { .list($0) })
    }

    private mutating func set(
        _ elements: [Expression], _ expression: Expression, for receiver: Receiver
    ) throws(ServerError) -> ResolvedExpression {
        if case .map = receiver.type.unfrozen, elements.isEmpty { return try map([], expression, for: receiver) }
        guard case .set(let type) = receiver.type.unfrozen else {
            throw .invalid("Invalid set literal for \(receiver.name) of type \(receiver.type)")
        }
        let parts = try self.elements(elements, of: type, what: "set", for: receiver)
        return try combine(parts, receiver.type, term: { .set($0) }, selector: { .set($0, receiver.type) })
    }

    private mutating func map(
        _ entries: [(key: Expression, value: Expression)], _ expression: Expression, for receiver: Receiver
    ) throws(ServerError) -> ResolvedExpression {
        guard case .map(let keyType, let valueType) = receiver.type.unfrozen else {
            throw .invalid("Invalid map literal for \(receiver.name) of type \(receiver.type)")
        }
        var parts: [ResolvedExpression] = []
        let keyReceiver = receiver.with(name: "key(\(receiver.name))", type: keyType)
        let valueReceiver = receiver.with(name: "value(\(receiver.name))", type: valueType)
        for (key, value) in entries {
            for (part, type, what) in [(key, keyType, "key"), (value, valueType, "value")] {
                if case .null = part { throw .invalid("null is not supported inside collections") }
                if case .constant(let kind, _) = part, !type.unfrozen.accepts(kind) {
                    throw .invalid(
                        "Invalid map literal for \(receiver.name): \(what) \(part.text) is not of type \(type)")
                }
            }
            parts.append(try resolve(key, for: keyReceiver))
            parts.append(try resolve(value, for: valueReceiver))
        }
        return try combine(
            parts, receiver.type, term: { .map(Self.pairs($0)) }, selector: { .map(Self.pairs($0), receiver.type) })
    }

    /// Groups a flat list of alternating keys and values into pairs.
    static func pairs<T>(_ flat: [T]) -> [(key: T, value: T)] {
        stride(from: 0, to: flat.count, by: 2).map { (key: flat[$0], value: flat[$0 + 1]) }
    }

    private mutating func tuple(
        _ elements: [Expression], _ expression: Expression, for receiver: Receiver
    ) throws(ServerError) -> ResolvedExpression {
        guard case .tuple(let fields) = receiver.type.unfrozen else {
            // A single expression in parentheses.
            if elements.count == 1 { return try resolve(elements[0], for: receiver) }
            throw .invalid("Invalid tuple type literal for \(receiver.name) of type \(receiver.type)")
        }
        guard elements.count <= fields.count else {
            throw .invalid(
                "Invalid tuple literal for \(receiver.name): too many elements. Type \(receiver.type) expects \(fields.count) but got \(elements.count)"
            )
        }
        var parts: [ResolvedExpression] = []
        for (index, element) in elements.enumerated() {
            if case .constant(let kind, _) = element, !fields[index].unfrozen.accepts(kind) {
                throw .invalid(
                    "Invalid tuple literal for \(receiver.name): component \(index) is not of type \(fields[index])")
            }
            parts.append(
                try resolve(element, for: receiver.with(name: "\(receiver.name)[\(index)]", type: fields[index])))
        }
        return try combine(parts, receiver.type, term: { .tuple($0) }, selector: { .tuple($0) })
    }
}

extension Term {
    /// Whether the value is the same in every execution.
    var isConstant: Bool {
        switch node {
        case .constant: true
        case .null: true
        case .bind: false
        case .list(let terms), .set(let terms), .tuple(let terms): terms.allSatisfy(\.isConstant)
        case .map(let entries): entries.allSatisfy { $0.key.isConstant && $0.value.isConstant }
        case .call(let function, let terms): function.isPure && terms.allSatisfy(\.isConstant)
        case .field(let term, _): term.isConstant
        case .generated, .jsonField: false
        }
    }
}
