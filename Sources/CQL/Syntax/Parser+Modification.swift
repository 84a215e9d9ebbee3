import DataModel

extension Parser {
    mutating func modification() throws(ServerError) -> ModificationStatement {
        if try takeWord("insert") { return try insert() }
        if try takeWord("update") { return try update() }
        try expectWord("delete")
        return try delete()
    }

    private mutating func insert() throws(ServerError) -> ModificationStatement {
        try expectWord("into")
        let table = try qualifiedName()
        var statement: ModificationStatement
        if try takeWord("json") {
            let document: Expression
            if token.kind == .string || token.kind == .dollarString {
                document = .constant(.string, try string())
            } else if token.kind == .questionMark || isSymbol(":") {
                document = try expression()
            } else {
                throw unexpected()
            }
            var absentIsUnset = false
            if try takeWord("default") {
                if try takeWord("unset") { absentIsUnset = true } else { try expectWord("null") }
            }
            statement = ModificationStatement(
                table: table, body: .insertJSON(.init(document: document, absentIsUnset: absentIsUnset)))
        } else {
            try expectSymbol("(")
            let columns = try list { (parser) throws(ServerError) in try parser.name() }
            try expectSymbol(")")
            try expectWord("values")
            try expectSymbol("(")
            let values = try list { (parser) throws(ServerError) in try parser.expression() }
            try expectSymbol(")")
            statement = ModificationStatement(table: table, body: .insert(columns: columns, values: values))
        }
        if isWord("if") {
            _ = try ifNotExists()
            statement.condition = .notExists
        }
        try using(&statement, allowsTimeToLive: true)
        return statement
    }

    /// `USING TIMESTAMP t AND TTL s`.
    private mutating func using(_ statement: inout ModificationStatement, allowsTimeToLive: Bool) throws(ServerError) {
        guard try takeWord("using") else { return }
        repeat {
            if try takeWord("timestamp") {
                guard statement.timestamp == nil else { throw problem("Multiple timestamps specified") }
                statement.timestamp = try integerOrMarker()
            } else if allowsTimeToLive, try takeWord("ttl") {
                guard statement.timeToLive == nil else { throw problem("Multiple TTLs specified") }
                statement.timeToLive = try integerOrMarker()
            } else {
                throw unexpected()
            }
        } while try takeWord("and")
    }

    private mutating func update() throws(ServerError) -> ModificationStatement {
        var statement = ModificationStatement(table: try qualifiedName(), body: .update([]))
        try using(&statement, allowsTimeToLive: true)
        try expectWord("set")
        statement.body = .update(try list { (parser) throws(ServerError) in try parser.assignment() })
        try expectWord("where")
        statement.relations = try whereClause()
        statement.condition = try conditions()
        return statement
    }

    private mutating func assignment() throws(ServerError) -> ModificationStatement.Assignment {
        let column = try name()
        if try takeSymbol("[") {
            let key = try expression()
            try expectSymbol("]")
            try expectSymbol("=")
            return .element(column: column, key: key, try expression())
        }
        if try takeSymbol(".") {
            let field = try name()
            try expectSymbol("=")
            return .field(column: column, name: field, try expression())
        }
        if try takeSymbol("+=") { return .add(column: column, try expression()) }
        if try takeSymbol("-=") { return .subtract(column: column, try expression()) }
        try expectSymbol("=")
        return .set(column: column, try expression())
    }

    private mutating func delete() throws(ServerError) -> ModificationStatement {
        var deletions: [ModificationStatement.Deletion] = []
        if !isWord("from") {
            deletions = try list { (parser) throws(ServerError) in
                let column = try parser.name()
                if try parser.takeSymbol("[") {
                    let key = try parser.expression()
                    try parser.expectSymbol("]")
                    return .element(column: column, key: key)
                }
                if try parser.takeSymbol(".") { return .field(column: column, name: try parser.name()) }
                return .column(column)
            }
        }
        try expectWord("from")
        var statement = ModificationStatement(table: try qualifiedName(), body: .delete(deletions))
        try using(&statement, allowsTimeToLive: false)
        try expectWord("where")
        statement.relations = try whereClause()
        statement.condition = try conditions()
        return statement
    }

    private mutating func conditions() throws(ServerError) -> ModificationStatement.IfClause {
        guard try takeWord("if") else { return .none }
        if isWord("exists") {
            let next = try peek()
            // `IF exists = ...` names a column called `exists`; here no operator follows.
            if next.kind == .end || isSymbol(";", next) || next.kind == .word && !isWord("in", next) {
                try advance()
                return .exists
            }
        }
        var clauses: [ConditionClause] = []
        repeat { clauses.append(try condition()) } while try takeWord("and")
        return .conditions(clauses)
    }

    private mutating func condition() throws(ServerError) -> ConditionClause {
        var clause = ConditionClause(column: try name())
        if try takeSymbol("[") {
            clause.key = try expression()
            try expectSymbol("]")
        } else if try takeSymbol(".") {
            clause.field = try name()
        }
        if try takeWord("in") {
            clause.values = try inValues()
        } else {
            clause.comparison = try comparisonOperator()
            clause.value = try expression()
        }
        return clause
    }

    // MARK: BATCH

    mutating func batch() throws(ServerError) -> BatchStatement {
        try expectWord("begin")
        var kind = BatchPlan.Kind.logged
        if try takeWord("unlogged") { kind = .unlogged } else if try takeWord("counter") { kind = .counter }
        try expectWord("batch")
        var timestamp: Expression?
        if try takeWord("using") {
            try expectWord("timestamp")
            timestamp = try integerOrMarker()
        }
        var statements: [ModificationStatement] = []
        while try !takeWord("apply") {
            guard isWord("insert") || isWord("update") || isWord("delete") else { throw unexpected() }
            statements.append(try modification())
            while try takeSymbol(";") {}
        }
        try expectWord("batch")
        return BatchStatement(kind: kind, timestamp: timestamp, statements: statements)
    }
}
