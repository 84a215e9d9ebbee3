import DataModel

extension Parser {
    mutating func create() throws(ServerError) -> Statement {
        try expectWord("create")
        if isWord("keyspace") || isWord("schema") {
            try advance()
            let ifNotExists = try ifNotExists()
            let name = try name()
            try expectWord("with")
            return .createKeyspace(name: name, ifNotExists: ifNotExists, properties: try properties())
        }
        if isWord("table") || isWord("columnfamily") {
            try advance()
            return .createTable(try createTable())
        }
        return try refusedDefinition("CREATE")
    }

    mutating func alter() throws(ServerError) -> Statement {
        try expectWord("alter")
        if isWord("keyspace") || isWord("schema") {
            try advance()
            let ifExists = try ifExists()
            let name = try name()
            try expectWord("with")
            return .alterKeyspace(name: name, ifExists: ifExists, properties: try properties())
        }
        if isWord("table") || isWord("columnfamily") {
            try advance()
            return .alterTable(try alterTable())
        }
        return try refusedDefinition("ALTER")
    }

    mutating func drop() throws(ServerError) -> Statement {
        try expectWord("drop")
        if isWord("keyspace") || isWord("schema") {
            try advance()
            let ifExists = try ifExists()
            return .dropKeyspace(name: try name(), ifExists: ifExists)
        }
        if isWord("table") || isWord("columnfamily") {
            try advance()
            let ifExists = try ifExists()
            return .dropTable(try qualifiedName(), ifExists: ifExists)
        }
        return try refusedDefinition("DROP")
    }

    // MARK: Properties

    mutating func properties() throws(ServerError) -> [Property] {
        var properties: [Property] = []
        repeat { properties.append(try property()) } while try takeWord("and")
        return properties
    }

    private mutating func property() throws(ServerError) -> Property {
        let name = try name()
        try expectSymbol("=")
        return Property(name: name, value: try propertyValue())
    }

    private mutating func propertyValue() throws(ServerError) -> PropertyValue {
        guard try takeSymbol("{") else { return .text(try propertyText()) }
        var map: [String: String] = [:]
        if try takeSymbol("}") { return .map(map) }
        repeat {
            let key = try propertyText()
            try expectSymbol(":")
            map[key] = try propertyText()
        } while try takeSymbol(",")
        try expectSymbol("}")
        return .map(map)
    }

    /// Parses a constant or a bare word as text.
    private mutating func propertyText() throws(ServerError) -> String {
        let isNegative = try takeSymbol("-")
        let value: String
        switch token.kind {
        case .string, .dollarString: value = stringText(token)
        case .integer, .float, .uuid, .hex, .duration: value = text(token)
        case .word: value = text(token).lowercased()
        default: throw unexpected()
        }
        try advance()
        return (isNegative ? "-" : "") + value
    }

    // MARK: CREATE TABLE

    private mutating func createTable() throws(ServerError) -> CreateTableStatement {
        let ifNotExists = try ifNotExists()
        var statement = CreateTableStatement(table: try qualifiedName())
        statement.ifNotExists = ifNotExists
        try expectSymbol("(")
        repeat {
            if isWord("primary") {
                statement.primaryKeys.append(try primaryKey())
            } else {
                let column = try columnDefinition()
                if try takeWord("primary") {
                    try expectWord("key")
                    statement.primaryKeys.append((partition: [column.name], clustering: []))
                }
                statement.columns.append(column)
            }
        } while try takeSymbol(",")
        try expectSymbol(")")
        guard try takeWord("with") else { return statement }
        repeat {
            if isWord("clustering"), isWord("order", try peek()) {
                try advance()
                try advance()
                try expectWord("by")
                try expectSymbol("(")
                statement.clusteringOrder += try list { (parser) throws(ServerError) in
                    let column = try parser.name()
                    guard parser.isWord("asc") || parser.isWord("desc") else { throw parser.unexpected() }
                    return (column: column, isDescending: try parser.direction())
                }
                try expectSymbol(")")
            } else if isWord("compact"), isWord("storage", try peek()) {
                try advance()
                try advance()
                statement.isCompactStorage = true
            } else {
                statement.properties.append(try property())
            }
        } while try takeWord("and")
        return statement
    }

    private mutating func primaryKey() throws(ServerError) -> (partition: [String], clustering: [String]) {
        try expectWord("primary")
        try expectWord("key")
        try expectSymbol("(")
        var partition: [String]
        if try takeSymbol("(") {
            partition = try list { (parser) throws(ServerError) in try parser.name() }
            try expectSymbol(")")
        } else {
            partition = [try name()]
        }
        var clustering: [String] = []
        while try takeSymbol(",") { clustering.append(try name()) }
        try expectSymbol(")")
        return (partition, clustering)
    }

    private mutating func columnDefinition() throws(ServerError) -> CreateTableStatement.Column {
        let name = try name()
        let type = try typeName()
        return CreateTableStatement.Column(name: name, type: type, isStatic: try takeWord("static"))
    }

    // MARK: ALTER TABLE

    private mutating func alterTable() throws(ServerError) -> AlterTableStatement {
        let ifExists = try ifExists()
        let table = try qualifiedName()
        func made(_ change: AlterTableStatement.Change) -> AlterTableStatement {
            AlterTableStatement(table: table, ifExists: ifExists, change: change)
        }
        if try takeWord("add") {
            let ifNotExists = try self.ifNotExists()
            if try takeSymbol("(") {
                let columns = try list { (parser) throws(ServerError) in try parser.columnDefinition() }
                try expectSymbol(")")
                return made(.add(columns, ifNotExists: ifNotExists))
            }
            return made(
                .add(
                    try list { (parser) throws(ServerError) in try parser.columnDefinition() }, ifNotExists: ifNotExists
                ))
        }
        if try takeWord("drop") {
            if isWord("compact"), isWord("storage", try peek()) {
                try advance()
                try advance()
                return made(.dropCompactStorage)
            }
            let ifColumnExists = try self.ifExists()
            var columns: [String]
            if try takeSymbol("(") {
                columns = try list { (parser) throws(ServerError) in try parser.name() }
                try expectSymbol(")")
            } else {
                columns = try list { (parser) throws(ServerError) in try parser.name() }
            }
            if isWord("using") {
                try advance()
                try expectWord("timestamp")
                _ = try integerOrMarker()
            }
            return made(.drop(columns, ifExists: ifColumnExists))
        }
        if try takeWord("rename") {
            let ifColumnExists = try self.ifExists()
            var renames: [(from: String, to: String)] = []
            repeat {
                let from = try name()
                try expectWord("to")
                renames.append((from, try name()))
            } while try takeWord("and")
            return made(.rename(renames, ifExists: ifColumnExists))
        }
        if try takeWord("alter") {
            let column = try name()
            try expectWord("type")
            _ = try typeName()
            return made(.alterType(column: column))
        }
        guard try takeWord("with") else { throw unexpected() }
        return made(.properties(try properties()))
    }
}
