/// The words of CQL, for completion and highlighting in the shell.
public enum Vocabulary {
    /// In upper case, sorted.
    public static let keywords: [String] = [
        "ADD", "ALLOW", "ALTER", "AND", "APPLY", "AS", "ASC", "BATCH", "BEGIN", "BY", "CAST", "CLUSTERING",
        "COMPACTION", "COMPRESSION",
        "CONTAINS", "COUNTER", "CREATE", "DEFAULT", "DELETE", "DESC", "DESCRIBE", "DISTINCT", "DROP", "EXISTS",
        "FILTERING", "FROM",
        "FROZEN", "FULL", "GROUP", "IF", "IN", "INSERT", "INTERNALS", "INTO", "IS", "JSON", "KEY", "KEYSPACE",
        "KEYSPACES", "LIMIT",
        "LOGGED", "NOT", "NULL", "ON", "ONLY", "OR", "ORDER", "PARTITION", "PER", "PRIMARY", "RENAME", "REPLICATION",
        "SCHEMA", "SELECT",
        "SET", "STATIC", "TABLE", "TABLES", "TIMESTAMP", "TO", "TOKEN", "TRUNCATE", "TTL", "TYPE", "UNLOGGED", "UNSET",
        "UPDATE", "USE",
        "USING", "VALUES", "WHERE", "WITH", "WRITETIME",
    ]

    /// The functions, spelled as in CQL.
    public static let functions: [String] = [
        "avg", "blobAsInt", "blobAsText", "cast", "count", "currentDate", "currentTime", "currentTimeUUID",
        "currentTimestamp", "dateOf",
        "fromJson", "intAsBlob", "max", "maxTimeuuid", "min", "minTimeuuid", "now", "sum", "textAsBlob", "toDate",
        "toJson",
        "toTimestamp", "toUnixTimestamp", "token", "ttl", "unixTimestampOf", "uuid", "writetime",
    ]

    /// The types without parameters, and the words that begin parameterized types.
    public static let types: [String] = [
        "ascii", "bigint", "blob", "boolean", "counter", "date", "decimal", "double", "duration", "float", "frozen",
        "inet", "int",
        "list", "map", "set", "smallint", "text", "time", "timestamp", "timeuuid", "tinyint", "tuple", "uuid",
        "varchar", "varint",
    ]
}
