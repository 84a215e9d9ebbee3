/// The quoting and validation of names in CQL text.
public enum Identifier {
    /// The longest name of a keyspace, table or index.
    public static let maximumLength = 48

    /// The reserved words, which must be quoted to be names (CQL 3.4.5, appendix A).
    public static let reservedWords: Set<String> = [
        "add", "allow", "alter", "and", "apply", "asc", "authorize", "batch", "begin", "by", "columnfamily", "create",
        "default",
        "delete", "desc", "describe", "drop", "entries", "execute", "from", "full", "grant", "if", "in", "index",
        "infinity", "insert",
        "into", "is", "keyspace", "limit", "materialized", "mbean", "mbeans", "modify", "nan", "norecursive", "not",
        "null", "of", "on",
        "or", "order", "primary", "rename", "replace", "revoke", "schema", "select", "set", "table", "to", "token",
        "truncate",
        "unlogged", "unset", "update", "use", "using", "view", "where", "with",
    ]

    /// Returns the name as CQL text: in double quotes when it is not a plain lower-case word or is reserved.
    public static func quoted(_ name: String) -> String {
        needsQuotes(name) ? "\"" + name.replacing("\"", with: "\"\"") + "\"" : name
    }

    public static func needsQuotes(_ name: String) -> Bool {
        guard let first = name.utf8.first, (0x61...0x7a).contains(first) else { return true }
        for byte in name.utf8 {
            switch byte {
            case 0x61...0x7a, 0x30...0x39, 0x5f: continue
            default: return true
            }
        }
        return reservedWords.contains(name)
    }

    /// Returns `text` as a CQL string literal.
    public static func stringLiteral(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }

    /// Whether a keyspace or table may have this name: word characters only, at most `maximumLength` bytes.
    public static func isValidName(_ name: String) -> Bool {
        guard !name.isEmpty, name.utf8.count <= maximumLength else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
            default: false
            }
        }
    }
}
