import DataModel

extension Parser {
    mutating func select() throws(ServerError) -> SelectStatement {
        try expectWord("select")
        var isJSON = false
        var isDistinct = false
        if isWord("json"), beginsSelection(try peek()) {
            isJSON = true
            try advance()
        }
        if isWord("distinct"), beginsSelection(try peek()) {
            isDistinct = true
            try advance()
        }
        var items: [SelectStatement.Item]?
        if try !takeSymbol("*") {
            items = try list { (parser) throws(ServerError) in
                let expression = try parser.expression()
                let alias = try parser.takeWord("as") ? try parser.name() : nil
                return SelectStatement.Item(expression: expression, alias: alias)
            }
        }
        try expectWord("from")
        var statement = SelectStatement(table: try qualifiedName(), items: items)
        statement.isJSON = isJSON
        statement.isDistinct = isDistinct
        if try takeWord("where") { statement.relations = try whereClause() }
        if isWord("group") {
            try advance()
            try expectWord("by")
            statement.groupBy = try list { (parser) throws(ServerError) in try parser.expression() }
        }
        if isWord("order") {
            try advance()
            try expectWord("by")
            statement.orderBy = try list { (parser) throws(ServerError) in
                let column = try parser.name()
                return (column: column, isDescending: try parser.direction())
            }
        }
        if isWord("per") {
            try advance()
            try expectWord("partition")
            try expectWord("limit")
            statement.perPartitionLimit = try integerOrMarker()
        }
        if try takeWord("limit") { statement.limit = try integerOrMarker() }
        if try takeWord("allow") {
            try expectWord("filtering")
            statement.allowsFiltering = true
        }
        return statement
    }

    /// Whether JSON or DISTINCT before this token is the keyword and not a column name.
    private func beginsSelection(_ token: Token) -> Bool {
        switch token.kind {
        case .end: false
        case .symbol:
            isSymbol("*", token) || isSymbol("[", token) || isSymbol("{", token) || isSymbol("-", token)
                || isSymbol(":", token)
        case .word: !isWord("from", token) && !isWord("as", token)
        default: true
        }
    }

    mutating func direction() throws(ServerError) -> Bool {
        if try takeWord("asc") { return false }
        return try takeWord("desc")
    }

    mutating func integerOrMarker() throws(ServerError) -> Expression {
        switch token.kind {
        case .integer, .questionMark: return try expression()
        case .symbol where isSymbol(":") || isSymbol("-"): return try expression()
        default: throw unexpected()
        }
    }

    // MARK: WHERE

    mutating func whereClause() throws(ServerError) -> [Relation] {
        var relations: [Relation] = []
        repeat { try relation(into: &relations) } while try takeWord("and")
        return relations
    }

    private mutating func relation(into relations: inout [Relation]) throws(ServerError) {
        if isWord("token") {
            try advance()
            try expectSymbol("(")
            let columns = try list { (parser) throws(ServerError) in try parser.name() }
            try expectSymbol(")")
            let comparison = try comparisonOperator()
            relations.append(.token(columns: columns, comparison, try expression()))
            return
        }
        if isSymbol("(") {
            let open = token
            try advance()
            // `((a = 1))` is a relation in parentheses; `(a, b) = (1, 2)` is a tuple of columns.
            if isName(token) {
                let next = try peek()
                if isSymbol(",", next) || isSymbol(")", next) {
                    let columns = try list { (parser) throws(ServerError) in try parser.name() }
                    try expectSymbol(")")
                    relations.append(try tupleRelation(columns))
                    return
                }
            }
            rewind(to: open)
            try advance()
            try nested { (parser) throws(ServerError) in try parser.relation(into: &relations) }
            try expectSymbol(")")
            return
        }
        relations.append(try columnRelation(try name()))
    }

    private mutating func columnRelation(_ column: String) throws(ServerError) -> Relation {
        if try takeWord("in") { return .oneOf(column: column, try inValues()) }
        if try takeWord("like") { return .like(column: column, try expression()) }
        if try takeWord("is") {
            try expectWord("not")
            try expectWord("null")
            return .isNotNull(column: column)
        }
        if try takeWord("contains") {
            if try takeWord("key") { return .containsKey(column: column, try expression()) }
            return .contains(column: column, try expression())
        }
        if try takeSymbol("[") {
            let key = try expression()
            try expectSymbol("]")
            let comparison = try comparisonOperator()
            return .entry(column: column, key: key, comparison, try expression())
        }
        let comparison = try comparisonOperator()
        return .compare(column: column, comparison, try expression())
    }

    private mutating func tupleRelation(_ columns: [String]) throws(ServerError) -> Relation {
        if try takeWord("in") { return .tupleOneOf(columns: columns, try inValues()) }
        let comparison = try comparisonOperator()
        return .compareTuple(columns: columns, comparison, try expression())
    }

    mutating func inValues() throws(ServerError) -> Relation.Values {
        if try takeSymbol("(") {
            if try takeSymbol(")") { return .list([]) }
            let values = try list { (parser) throws(ServerError) in try parser.expression() }
            try expectSymbol(")")
            return .list(values)
        }
        guard token.kind == .questionMark || isSymbol(":") else { throw unexpected() }
        return .marker(try expression())
    }

    mutating func comparisonOperator() throws(ServerError) -> ComparisonOperator {
        let operators: [(StaticString, ComparisonOperator)] = [
            ("=", .equal), ("<", .less), ("<=", .lessOrEqual), (">", .greater), (">=", .greaterOrEqual),
            ("!=", .notEqual),
        ]
        for (symbol, comparison) in operators where isSymbol(symbol) {
            try advance()
            return comparison
        }
        throw unexpected()
    }
}
