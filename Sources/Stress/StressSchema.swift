import Client
import DataModel
import NativeProtocol

/// The table used for load: a blob key and several blob columns, as in cassandra-stress.
struct StressSchema: Sendable {
    let options: StressOptions

    var table: String { Identifier.quoted(options.keyspace) + "." + Identifier.quoted(options.table) }
    private var columnNames: [String] { (0..<options.columns).map { "\"C\($0)\"" } }

    /// Creates the keyspace and the table if they are missing.
    func create(_ connection: Connection) throws(ClientError) {
        _ = try connection.query(
            "CREATE KEYSPACE IF NOT EXISTS \(Identifier.quoted(options.keyspace)) WITH replication = "
                + "{'class': 'SimpleStrategy', 'replication_factor': '\(options.replicationFactor)'}")
        let columns = columnNames.map { "\($0) blob" }.joined(separator: ", ")
        _ = try connection.query("CREATE TABLE IF NOT EXISTS \(table) (key blob PRIMARY KEY, \(columns))")
    }

    var insert: String {
        let markers = Array(repeating: "?", count: options.columns + 1).joined(separator: ", ")
        return "INSERT INTO \(table) (key, \(columnNames.joined(separator: ", "))) VALUES (\(markers))"
    }

    /// A conditional update. The key is the last bind marker.
    var conditional: String {
        "UPDATE \(table) SET \(columnNames.map { "\($0) = ?" }.joined(separator: ", ")) WHERE key = ? IF EXISTS"
    }

    var select: String { "SELECT key, \(columnNames.joined(separator: ", ")) FROM \(table) WHERE key = ?" }

    var scan: String {
        "SELECT key, \(columnNames.joined(separator: ", ")) FROM \(table) WHERE token(key) > ? AND token(key) <= ?"
    }

    /// Returns whether a sample of rows over the whole key range exists.
    func isLoaded(_ connection: Connection) throws(ClientError) -> Bool {
        let statement = try connection.prepare(select)
        let samples = 32
        for sample in 0..<samples {
            let row = sample == samples - 1 ? options.rows - 1 : options.rows / samples * sample
            var query = QueryOptions()
            query.consistency = options.consistency
            query.values.append(withUnsafeBytes(of: UInt64(row).bigEndian) { [UInt8]($0) })
            guard case .rows(let rows) = try connection.execute(statement, query).result, rows.rowCount > 0 else {
                return false
            }
        }
        return true
    }
}
