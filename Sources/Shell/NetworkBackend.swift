import Client
import DataModel
import NativeProtocol
import Primitives

/// A backend that sends statements to a server over the network. After a broken connection, the next statement
/// reconnects and selects the same keyspace.
public final class NetworkBackend: QueryBackend {
    private var options: ConnectionOptions
    private var connection: Connection?
    private var keyspace: String?
    public private(set) var identity: BackendIdentity

    /// - Parameter name: the name that SHOW HOST prints; nil: the server's address.
    public init(_ options: ConnectionOptions, shownAs name: String? = nil) throws(ClientError) {
        self.options = options
        let connection = try Connection.open(options)
        self.connection = connection
        identity = BackendIdentity(
            clusterName: "", address: name ?? connection.address, releaseVersion: "", cqlVersion: "",
            protocolVersion: "\(connection.version.rawValue)")
        let local = try connection.rows(
            "SELECT cluster_name, release_version, cql_version FROM system.local WHERE key = 'local'"
        ).rows()
            .first
        identity.clusterName = local?.text(0) ?? "?"
        identity.releaseVersion = local?.text(1) ?? "?"
        identity.cqlVersion = local?.text(2) ?? "?"
    }

    private func open() throws(ClientError) -> Connection {
        if let connection { return connection }
        let opened = try Connection.open(options)
        if let keyspace { _ = try opened.query("USE " + Identifier.quoted(keyspace)) }
        connection = opened
        return opened
    }

    /// Runs `body` and drops the connection on any error but the server's, since the connection may be broken or out of
    /// sync.
    private func with<R>(_ body: (Connection) throws(ClientError) -> R) throws(ClientError) -> R {
        let connection = try open()
        do throws(ClientError) {
            return try body(connection)
        } catch {
            if case .server = error { throw error }
            self.connection = nil
            throw error
        }
    }

    public func run(_ statement: String, _ options: QueryOptions, tracing: Bool) throws(ClientError) -> StatementAnswer
    {
        let answer = try with { (connection) throws(ClientError) -> StatementAnswer in
            connection.tracing = tracing
            defer { connection.tracing = false }
            return try connection.query(statement, options)
        }
        if case .setKeyspace(let name) = answer.result { keyspace = name }
        return answer
    }

    public func runMany(_ statement: String, _ rows: [ValueList], _ options: QueryOptions) throws(ClientError)
        -> [ServerError?]
    {
        try with { (connection) throws(ClientError) -> [ServerError?] in
            let prepared = try connection.prepare(statement)
            let count = min(rows.count, 30_000)
            var outcomes: [ServerError?] = []
            for start in stride(from: 0, to: rows.count, by: max(1, count)) {
                let part = rows[start..<min(rows.count, start + count)]
                outcomes += try pipelined(connection, prepared, Array(part), options)
            }
            return outcomes
        }
    }

    private func pipelined(
        _ connection: Connection, _ prepared: PreparedDescription, _ rows: [ValueList], _ options: QueryOptions
    ) throws(ClientError) -> [ServerError?] {
        var options = options
        var outcomes = [ServerError?](repeating: nil, count: rows.count)
        for (index, row) in rows.enumerated() {
            options.values = row
            connection.enqueue { encoder, out in encoder.execute(prepared, options, stream: Int16(index), into: &out) }
            if connection.pendingBytes > 1 << 20 { try connection.flush() }
        }
        try connection.flush()
        var waiting = rows.count
        while waiting > 0 {
            while let frame = try connection.nextBuffered() {
                let stream = Int(frame.header.stream)
                guard rows.indices.contains(stream) else { continue }
                if case .error(let error) = try Connection.decoded(frame, known: prepared.result).response {
                    outcomes[stream] = error
                }
                waiting -= 1
            }
            if waiting > 0 { try connection.fill() }
        }
        return outcomes
    }

    public func logIn(user: String, password: String) throws(ClientError) {
        var changed = options
        changed.user = user
        changed.password = password
        let opened = try Connection.open(changed)
        options = changed
        if let keyspace { _ = try opened.query("USE " + Identifier.quoted(keyspace)) }
        connection = opened
    }

    public func close() { connection = nil }
}
