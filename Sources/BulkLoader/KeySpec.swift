import DataModel

/// The primary key of a table to create: `(origin, month), time_hour DESC, carrier`.
struct KeySpec: Equatable {
    struct Clustering: Equatable {
        var name: String
        var isDescending = false
    }

    var partition: [String]
    var clustering: [Clustering]

    init(partition: [String], clustering: [Clustering] = []) {
        self.partition = partition
        self.clustering = clustering
    }

    /// Parses comma-separated names. The first one, or those in parentheses, are the partition key. Names in double
    /// quotes keep their case.
    init(parsing text: String) throws(LoadError) {
        func fail(_ what: String) -> LoadError {
            .usage("--key: \(what); write it as in CQL, such as \"(origin, month), time_hour\"")
        }
        var tokens: [String] = []
        var word = ""
        var isQuoted = false
        for character in text {
            if isQuoted {
                word.append(character)
                if character == "\"" { isQuoted = false }
            } else if character == "\"" {
                isQuoted = true
                word.append(character)
            } else if character == "(" || character == ")" || character == "," || character.isWhitespace {
                if !word.isEmpty { tokens.append(word) }
                word = ""
                if !character.isWhitespace { tokens.append(String(character)) }
            } else {
                word.append(character)
            }
        }
        if isQuoted { throw fail("a quote is not closed") }
        if !word.isEmpty { tokens.append(word) }
        // Drop parentheses around the whole key, as in PRIMARY KEY ((a, b), c).
        if tokens.first == "(", tokens.last == ")", tokens.dropFirst().first == "(" {
            tokens = Array(tokens.dropFirst().dropLast())
        }
        var rest = tokens[...]
        func name(_ token: String?) throws(LoadError) -> String {
            guard let token, token != "(", token != ")", token != "," else { throw fail("a column expected") }
            return token.hasPrefix("\"") && token.hasSuffix("\"") && token.count > 1
                ? String(token.dropFirst().dropLast()) : token.lowercased()
        }
        partition = []
        if rest.first == "(" {
            _ = rest.popFirst()
            while true {
                partition.append(try name(rest.popFirst()))
                let next = rest.popFirst()
                if next == ")" { break }
                guard next == "," else { throw fail("',' or ')' expected") }
            }
        } else {
            partition.append(try name(rest.popFirst()))
        }
        clustering = []
        while let comma = rest.popFirst() {
            guard comma == "," else { throw fail("',' expected, found '\(comma)'") }
            var column = Clustering(name: try name(rest.popFirst()))
            if let order = rest.first?.lowercased(), order == "asc" || order == "desc" {
                column.isDescending = order == "desc"
                _ = rest.popFirst()
            }
            clustering.append(column)
        }
        let names = partition + clustering.map(\.name)
        guard Set(names).count == names.count else { throw fail("a column is named twice") }
    }

    var names: [String] { partition + clustering.map(\.name) }

    /// The text between the parentheses of PRIMARY KEY.
    var cql: String {
        let first = partition.map(Identifier.quoted).joined(separator: ", ")
        return (["(\(first))"] + clustering.map { Identifier.quoted($0.name) }).joined(separator: ", ")
    }

    /// ` WITH CLUSTERING ORDER BY (...)`, or an empty string when all columns are ascending.
    var orderClause: String {
        guard clustering.contains(where: \.isDescending) else { return "" }
        let orders = clustering.map { "\(Identifier.quoted($0.name)) \($0.isDescending ? "DESC" : "ASC")" }
        return " WITH CLUSTERING ORDER BY (\(orders.joined(separator: ", ")))"
    }
}
