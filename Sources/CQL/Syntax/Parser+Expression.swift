import DataModel

// expression := product (('+' | '-') product)*
// product    := unary (('*' | '/' | '%') unary)*
// unary      := '-' unary | postfix
// postfix    := primary ('[' ... ']' | '.' name)*
extension Parser {
    mutating func expression() throws(ServerError) -> Expression {
        try nested { (parser) throws(ServerError) in try parser.sum() }
    }

    private mutating func sum() throws(ServerError) -> Expression {
        var left = try product()
        var length = 0
        while isSymbol("+") || isSymbol("-") {
            let operation: Expression.BinaryOperator = isSymbol("+") ? .add : .subtract
            try advance()
            left = .binary(operation, left, try product())
            length += 1
            try checkChain(length)
        }
        return left
    }

    private mutating func product() throws(ServerError) -> Expression {
        var left = try unary()
        var length = 0
        while isSymbol("*") || isSymbol("/") || isSymbol("%") {
            let operation: Expression.BinaryOperator = isSymbol("*") ? .multiply : isSymbol("/") ? .divide : .modulo
            try advance()
            left = .binary(operation, left, try unary())
            length += 1
            try checkChain(length)
        }
        return left
    }

    /// Limits the length of an operator chain, which becomes a tree of that depth.
    private func checkChain(_ length: Int) throws(ServerError) {
        if length > Self.maximumDepth { throw problem("more than \(Self.maximumDepth) operators in a row") }
    }

    private mutating func unary() throws(ServerError) -> Expression {
        guard isSymbol("-") else { return try postfix() }
        try advance()
        switch token.kind {
        case .integer, .float, .duration:
            let kind: ConstantKind = token.kind == .integer ? .integer : token.kind == .float ? .float : .duration
            let value = "-" + text(token)
            try advance()
            return .constant(kind, value)
        case .word where isWord("nan") || isWord("infinity"):
            let value = isWord("nan") ? "NaN" : "-Infinity"
            try advance()
            return .constant(.float, value)
        default: break
        }
        return .negate(try nested { (parser) throws(ServerError) in try parser.unary() })
    }

    private mutating func postfix() throws(ServerError) -> Expression {
        var value = try primary()
        var length = 0
        while true {
            if try takeSymbol("[") {
                if try takeSymbol("..") {
                    value = .slice(value, from: nil, to: isSymbol("]") ? nil : try expression())
                } else {
                    let first = try expression()
                    if try takeSymbol("..") {
                        value = .slice(value, from: first, to: isSymbol("]") ? nil : try expression())
                    } else {
                        value = .element(value, first)
                    }
                }
                try expectSymbol("]")
            } else if isSymbol(".") {
                try advance()
                value = .field(value, try name())
            } else {
                return value
            }
            length += 1
            try checkChain(length)
        }
    }

    private mutating func constant(_ kind: ConstantKind, _ text: String) throws(ServerError) -> Expression {
        try advance()
        return .constant(kind, text)
    }

    mutating func marker(_ name: String?) throws(ServerError) -> Expression {
        guard markers.count < Self.maximumMarkers else { throw problem("more than \(Self.maximumMarkers) markers") }
        markers.append(name)
        return .marker(markers.count - 1)
    }

    private mutating func primary() throws(ServerError) -> Expression {
        switch token.kind {
        case .integer: return try constant(.integer, text(token))
        case .float: return try constant(.float, text(token))
        case .uuid: return try constant(.uuid, text(token))
        case .hex: return try constant(.hex, text(token))
        case .duration: return try constant(.duration, text(token))
        case .string, .dollarString: return try constant(.string, stringText(token))
        case .questionMark:
            try advance()
            return try marker(nil)
        case .symbol:
            if try takeSymbol(":") { return try marker(try name()) }
            if isSymbol("(") { return try parenthesis() }
            if try takeSymbol("[") {
                if try takeSymbol("]") { return .list([]) }
                let elements = try list { (parser) throws(ServerError) in try parser.expression() }
                try expectSymbol("]")
                return .list(elements)
            }
            if isSymbol("{") { return try braces() }
            throw unexpected()
        case .quotedName: return try nameOrCall()
        case .word:
            if isWord("true") { return try constant(.boolean, "true") }
            if isWord("false") { return try constant(.boolean, "false") }
            if isWord("nan") { return try constant(.float, "NaN") }
            if isWord("infinity") { return try constant(.float, "Infinity") }
            if try takeWord("null") { return .null }
            if isWord("token") { return try tokenCall() }
            return try nameOrCall()
        case .end: throw unexpected()
        }
    }

    private mutating func tokenCall() throws(ServerError) -> Expression {
        try advance()
        return .call(keyspace: nil, name: "token", try arguments())
    }

    mutating func arguments() throws(ServerError) -> [Expression] {
        try expectSymbol("(")
        if try takeSymbol(")") { return [] }
        let arguments = try list { (parser) throws(ServerError) in try parser.expression() }
        try expectSymbol(")")
        return arguments
    }

    private mutating func nameOrCall() throws(ServerError) -> Expression {
        let next = try peek()
        if isSymbol("(", next) {
            if isWord("cast") { return try cast() }
            if isWord("count") {
                let start = token
                try advance()
                try advance()
                let isOne = token.kind == .integer && text(token) == "1"
                if isSymbol("*") || isOne {
                    try advance()
                    if try takeSymbol(")") { return .countRows }
                }
                rewind(to: start)
            }
            let name = try name()
            return .call(keyspace: nil, name: name, try arguments())
        }
        let first = try name()
        // `keyspace.function(...)`
        if isSymbol(".") {
            let dot = token
            try advance()
            if isName(token) {
                let called = nameText(token)
                if isSymbol("(", try peek()) {
                    try advance()
                    return .call(keyspace: first, name: called, try arguments())
                }
            }
            rewind(to: dot)
        }
        return .column(first)
    }

    private mutating func cast() throws(ServerError) -> Expression {
        try advance()
        try expectSymbol("(")
        let value = try expression()
        try expectWord("as")
        let type = try typeName()
        try expectSymbol(")")
        return .cast(value, type)
    }

    private mutating func parenthesis() throws(ServerError) -> Expression {
        let open = token
        if let type = try typeHint() {
            return .typeHint(type, try nested { (parser) throws(ServerError) in try parser.unary() })
        }
        rewind(to: open)
        try advance()
        let elements = try list { (parser) throws(ServerError) in try parser.expression() }
        try expectSymbol(")")
        return .tuple(elements)
    }

    /// Parses `(type)` if a value follows; otherwise returns nil, and the caller rewinds.
    private mutating func typeHint() throws(ServerError) -> TypeName? {
        try advance()
        guard token.kind == .word else { return nil }
        let next = try peek()
        let isParameterized =
            isSymbol("<", next) && ["list", "set", "map", "tuple", "frozen"].contains(text(token).lowercased())
        guard isParameterized || CQLType.simple(named: text(token)) != nil && isSymbol(")", next) else { return nil }
        let type = try typeName()
        guard try takeSymbol(")") else { return nil }
        switch token.kind {
        case .end: return nil
        case .symbol:
            return isSymbol("(") || isSymbol("[") || isSymbol("{") || isSymbol(":") || isSymbol("-") ? type : nil
        case .word:
            return isName(token) && !isWord("as") || isWord("null") || isWord("true") || isWord("false")
                || isWord("nan") || isWord("token")
                || isWord("infinity") ? type : nil
        default: return type
        }
    }

    private mutating func braces() throws(ServerError) -> Expression {
        try advance()
        if try takeSymbol("}") { return .set([]) }
        let first = try expression()
        if try takeSymbol(":") {
            var entries = [(key: first, value: try expression())]
            while try takeSymbol(",") {
                let key = try expression()
                try expectSymbol(":")
                entries.append((key, try expression()))
            }
            try expectSymbol("}")
            return .map(entries)
        }
        var elements = [first]
        while try takeSymbol(",") { elements.append(try expression()) }
        try expectSymbol("}")
        return .set(elements)
    }

    // MARK: Types

    mutating func typeName() throws(ServerError) -> TypeName {
        try nested { (parser) throws(ServerError) in try parser.typeNameUnguarded() }
    }

    private mutating func typeNameUnguarded() throws(ServerError) -> TypeName {
        if token.kind == .string { return .custom(try string()) }
        guard token.kind == .word || token.kind == .quotedName else { throw unexpected() }
        if token.kind == .word, isSymbol("<", try peek()) {
            let word = text(token).lowercased()
            guard ["list", "set", "map", "tuple", "frozen"].contains(word) else { throw unexpected() }
            try advance()
            try advance()
            let parameters = try list { (parser) throws(ServerError) in try parser.typeName() }
            try expectSymbol(">")
            switch (word, parameters.count) {
            case ("list", 1): return .list(parameters[0])
            case ("set", 1): return .set(parameters[0])
            case ("map", 2): return .map(parameters[0], parameters[1])
            case ("frozen", 1): return .frozen(parameters[0])
            case ("tuple", _): return .tuple(parameters)
            default: throw unexpected()
            }
        }
        if token.kind == .word, let type = CQLType.simple(named: text(token)) {
            try advance()
            return .simple(type)
        }
        let name = try qualifiedName()
        return .user(keyspace: name.keyspace, name: name.name)
    }
}
