import Client
import DataModel

/// Completion at the cursor: keywords, and names of keyspaces, tables and columns.
struct Completion {
    static let statements = [
        "ALTER", "APPLY BATCH", "BEGIN", "CAPTURE", "CLEAR", "CONSISTENCY", "COPY", "CREATE", "DELETE", "DESCRIBE",
        "DROP", "EXIT",
        "EXPAND",
        "HELP", "INSERT INTO", "LOGIN", "PAGING", "SELECT", "SERIAL CONSISTENCY", "SHOW", "SOURCE", "TRACING",
        "TRUNCATE", "UPDATE", "USE",
    ]
    static let keywords = [
        "ALLOW FILTERING", "AND", "AS", "ASC", "BATCH", "BY", "CLUSTERING ORDER BY", "CONTAINS", "COUNT", "COUNTER",
        "DESC", "DISTINCT",
        "EXISTS",
        "FILTERING", "FROM", "FROZEN", "GROUP BY", "IF", "IN", "INSERT INTO", "INTO", "IS", "JSON", "KEY", "KEYSPACE",
        "KEYSPACES", "LIMIT",
        "LIST", "LOGGED", "MAP", "NOT", "NULL", "ORDER BY", "PARTITION", "PER PARTITION LIMIT", "PRIMARY KEY",
        "REPLICATION", "SCHEMA",
        "SET",
        "STATIC", "TABLE", "TABLES", "TIMESTAMP", "TOKEN", "TTL", "TUPLE", "TYPE", "UNLOGGED", "USING", "VALUES",
        "WHERE", "WITH",
        "WRITETIME",
    ]
    static let types = [
        "ascii", "bigint", "blob", "boolean", "counter", "date", "decimal", "double", "duration", "float", "inet",
        "int", "smallint",
        "text",
        "time", "timestamp", "timeuuid", "tinyint", "uuid", "varint",
    ]

    /// The names of the schema that completion uses.
    struct Names {
        var keyspaces: [String] = []
        /// By keyspace.
        var tables: [String: [String]] = [:]
        /// By `keyspace.table`.
        var columns: [String: [String]] = [:]
    }

    /// Returns the words that may complete the text at the cursor, and how many characters before the cursor they
    /// replace.
    /// - Parameters:
    ///   - statement: the unfinished statement up to the cursor.
    ///   - keyspace: the keyspace in use.
    static func words(_ statement: String, names: Names, keyspace: String?) -> (replaced: Int, words: [String]) {
        let word = String(
            statement.reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "\"" }
                .reversed())
        let before = statement.dropLast(word.count)
        let tokens = before.split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == "." || $0 == "\"") }.map {
            $0.lowercased()
        }
        let candidates: [String]
        if tokens.isEmpty {
            candidates = statements
        } else {
            switch tokens.last ?? "" {
            case "use", "keyspace": candidates = names.keyspaces
            case "from", "into", "update", "table", "truncate", "copy", "desc", "describe":
                candidates =
                    tables(word, names, keyspace)
                    + (tokens.count == 1 && tokens[0].hasPrefix("desc")
                        ? ["CLUSTER", "KEYSPACE", "KEYSPACES", "SCHEMA", "TABLE", "TABLES"] : [])
            case "consistency": candidates = Consistency.allCases.map(\.name)
            case "tracing", "expand", "paging": candidates = ["ON", "OFF"]
            case "show": candidates = ["VERSION", "HOST", "SESSION"]
            default:
                candidates =
                    columns(tokens, names, keyspace) + keywords
                    + (tokens.first == "create" || tokens.first == "alter" ? types : [])
            }
        }
        let lower = word.lowercased()
        let matching = Set(candidates.filter { $0.lowercased().hasPrefix(lower) && $0 != word })
        // Names keep their case; a keyword follows the case of the typed word.
        let isLower = word.first?.isLowercase == true
        let shown = matching.map { isLower && $0 == $0.uppercased() ? $0.lowercased() : $0 }
        return (word.count, shown.sorted())
    }

    private static func tables(_ word: String, _ names: Names, _ keyspace: String?) -> [String] {
        if let dot = word.firstIndex(of: ".") {
            let prefix = String(word[..<dot])
            let name = prefix.replacing("\"", with: "")
            return (names.tables[name] ?? []).map { prefix + "." + Identifier.quoted($0) }
        }
        let own = keyspace.flatMap { names.tables[$0] } ?? []
        return own.map(Identifier.quoted) + names.keyspaces.map { Identifier.quoted($0) + "." }
    }

    /// Returns the columns of the tables that the statement names.
    private static func columns(_ tokens: [String], _ names: Names, _ keyspace: String?) -> [String] {
        var found: [String] = []
        for (index, token) in tokens.enumerated()
        where ["from", "into", "update"].contains(token) && index + 1 < tokens.count {
            var name = tokens[index + 1].replacing("\"", with: "")
            if !name.contains("."), let keyspace { name = keyspace + "." + name }
            found += (names.columns[name] ?? []).map(Identifier.quoted)
        }
        return found
    }

    /// Reads the schema's names. If that fails, the result holds those read so far.
    static func names(_ backend: any QueryBackend) -> Names {
        var names = Names()
        do throws(ClientError) {
            names.keyspaces = try backend.rows("SELECT keyspace_name FROM system_schema.keyspaces").compactMap {
                $0.text(0)
            }
            for row in try backend.rows("SELECT keyspace_name, table_name FROM system_schema.tables") {
                if let keyspace = row.text(0), let table = row.text(1) {
                    names.tables[keyspace, default: []].append(table)
                }
            }
            for row in try backend.rows("SELECT keyspace_name, table_name, column_name FROM system_schema.columns") {
                if let keyspace = row.text(0), let table = row.text(1), let column = row.text(2) {
                    names.columns[keyspace + "." + table, default: []].append(column)
                }
            }
        } catch {
            return names
        }
        return names
    }
}
