import DataModel

extension Parser {
    // MARK: DESCRIBE

    mutating func describe() throws(ServerError) -> DescribeStatement {
        try advance()
        let subject = try describeSubject()
        var withInternals = false
        if try takeWord("with") {
            try expectWord("internals")
            withInternals = true
        }
        return DescribeStatement(subject: subject, withInternals: withInternals)
    }

    private mutating func describeSubject() throws(ServerError) -> DescribePlan.Subject {
        let next = try peek()
        let isAlone = next.kind == .end || isSymbol(";", next) || isWord("with", next)
        if isAlone {
            if try takeWord("cluster") { return .cluster }
            if try takeWord("schema") { return .schema(full: false) }
            if try takeWord("keyspaces") { return .keyspaces }
            if try takeWord("tables") { return .tables(keyspace: nil) }
            if try takeWord("types") { return .types(keyspace: nil) }
            if try takeWord("functions") { return .functions(keyspace: nil) }
            if try takeWord("aggregates") { return .aggregates(keyspace: nil) }
            if try takeWord("keyspace") { return .any(keyspace: nil, name: "") }
        }
        if isWord("full"), isWord("schema", next) {
            try advance()
            try advance()
            return .schema(full: true)
        }
        if isWord("only") {
            try advance()
            if isWord("keyspace") { try advance() }
            return .keyspace(try name(), onlyKeyspace: true)
        }
        if isWord("keyspace") {
            try advance()
            return .keyspace(try name(), onlyKeyspace: false)
        }
        if isWord("table") || isWord("columnfamily") {
            try advance()
            let name = try qualifiedName()
            return .table(keyspace: name.keyspace ?? "", name: name.name)
        }
        for (word, what) in [
            ("type" as StaticString, "Type"), ("function", "Function"), ("aggregate", "Aggregate"), ("index", "Index"),
        ] where isWord(word) && isName(next) {
            try advance()
            let name = try qualifiedName()
            throw .invalid("\(what) '\(name.name)' not found\(name.keyspace.map { " in keyspace '\($0)'" } ?? "")")
        }
        if isWord("materialized") {
            try advance()
            try expectWord("view")
            let name = try qualifiedName()
            throw .invalid(
                "Materialized view '\(name.name)' not found\(name.keyspace.map { " in keyspace '\($0)'" } ?? "")")
        }
        let name = try qualifiedName()
        return .any(keyspace: name.keyspace, name: name.name)
    }

    // MARK: What is understood and refused

    /// Skips the rest of a statement that is refused whatever it contains.
    private mutating func skipRest() throws(ServerError) {
        while token.kind != .end, !isSymbol(";") { try advance() }
    }

    private mutating func refuse(_ code: ServerError.Code, _ message: String) throws(ServerError) -> Statement {
        try skipRest()
        return .refused(UnsupportedStatement(code: code, message: message))
    }

    /// Parses what follows CREATE, ALTER or DROP other than keyspaces and tables; such statements are refused.
    mutating func refusedDefinition(_ verb: String) throws(ServerError) -> Statement {
        if isWord("role") || isWord("user") {
            return try refuse(.unauthorized, "You have to be logged in and not anonymous to perform this request")
        }
        if isWord("or") {
            try advance()
            try expectWord("replace")
        }
        if isWord("custom") { try advance() }
        if isWord("index") {
            return try refuse(
                .invalid,
                "Secondary indexes are not supported. Use ALLOW FILTERING, or a table with the column in its primary key."
            )
        }
        if isWord("materialized") {
            return try refuse(
                .invalid, "Materialized views are disabled. They are not supported; write a second table instead.")
        }
        if isWord("type") {
            return try refuse(.invalid, "User-defined types are not supported. Use a tuple, a map or columns instead.")
        }
        if isWord("function") || isWord("aggregate") {
            return try refuse(
                .invalid, "User-defined functions are disabled. They are not supported; compute in the client instead.")
        }
        if isWord("trigger") { return try refuse(.invalid, "Triggers are not supported.") }
        throw unexpected()
    }

    mutating func accessControl() throws(ServerError) -> Statement {
        try advance()
        return try refuse(.unauthorized, "You have to be logged in and not anonymous to perform this request")
    }
}
