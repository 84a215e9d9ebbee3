import CQL
import DataModel
import Platform
import Primitives
import Query

/// Executes statements that define keyspaces and tables without a server.
struct SchemaScript {
    let engine: QueryEngine

    /// Returns a query engine that knows `schema` and reads and writes through `port`.
    static func engine(_ schema: Schema, _ port: OfflinePort) -> QueryEngine {
        let info = NodeInfo(
            clusterName: "offline", dataCenter: "datacenter1", rack: "rack1", hostID: UUID(high: 0, low: 0),
            address: "127.0.0.1",
            nativePort: 0, storagePort: 0, tokens: [])
        return QueryEngine(replica: port, host: OfflineHost(), node: info, schema: schema)
    }

    /// Returns working memory for executing statements, seeded randomly so that generated identifiers are unique.
    static func context() -> RequestContext {
        var random = SystemRandomNumberGenerator()
        return RequestContext(identifiers: IdentifierSource(seed: random.next(), clockSequenceAndNode: random.next()))
    }

    /// Reads the schema from a file: CQL, or an encoded `Schema` as in a snapshot.
    /// - Throws: `LoadError` when the file is invalid or does not define the table.
    static func schema(_ path: String, system: any FileSystem, keyspace: String, table: String) throws(LoadError)
        -> Schema
    {
        let bytes: [UInt8]
        do { bytes = try system.readAll(path) } catch { throw .input(error.description) }
        var schema: Schema
        do throws(SchemaDecodingError) {
            schema = try Schema(decoding: bytes)
        } catch {
            // Not an encoded schema, so it must be CQL.
            let script = SchemaScript(engine: engine(Schema(), OfflinePort()))
            try script.run(String(decoding: bytes, as: UTF8.self), path: path)
            schema = script.engine.schema
        }
        guard schema.table(keyspace, table) != nil else {
            throw .schema("\(path) does not create table \(keyspace).\(table)")
        }
        for name in schema.keyspaces.keys where name != keyspace { schema = schema.removing(keyspace: name) }
        return schema
    }

    private func run(_ text: String, path: String) throws(LoadError) {
        let statements: [String]
        do { statements = try StatementSplitter.split(text) } catch { throw .schema("\(path): \(error.message)") }
        var current: String?
        for statement in statements {
            do throws(ServerError) {
                if let name = try execute(statement, keyspace: current) { current = name }
            } catch {
                throw .schema("\(path): \(error.message); in: \(statement.prefix(200))")
            }
        }
    }

    /// Executes a statement that creates or changes a keyspace or a table.
    /// - Returns: the keyspace it selects (USE); nil for other statements.
    @discardableResult func execute(_ text: String, keyspace: String?) throws(ServerError) -> String? {
        let parsed = try Parser.parse(text)
        // Replication does not matter for files: missing keyspaces are created, and every keyspace gets a simple
        // strategy.
        switch parsed.statement {
        case .createKeyspace(let name, _, _):
            try make(keyspace: name)
            return nil
        case .createTable(let create):
            if let name = create.table.keyspace ?? keyspace { try make(keyspace: name) }
        case .alterTable, .alterKeyspace, .dropTable, .dropKeyspace, .use: break
        default: throw .invalid("only statements that define keyspaces and tables are allowed")
        }
        if case .setKeyspace(let name) = try perform(text, keyspace: keyspace) { return name }
        return nil
    }

    private func make(keyspace: String) throws(ServerError) {
        let text =
            "CREATE KEYSPACE IF NOT EXISTS \(Identifier.quoted(keyspace)) WITH replication = {'class': 'SimpleStrategy', "
            + "'replication_factor': 1}"
        _ = try perform(text, keyspace: nil)
    }

    private func perform(_ text: String, keyspace: String?) throws(ServerError) -> StatementResult {
        let statement = try engine.statement(text, keyspace: keyspace)
        return try engine.execute(statement, options: QueryOptions(), context: SchemaScript.context()).result
    }
}

/// Keeps the schema in memory for the duration of the load.
private struct OfflineHost: SchemaHost {
    func change(_ engine: QueryEngine, _ change: @escaping SchemaStep) throws(ServerError) {
        if let next = try change(engine.schema) {
            engine.install(next, SchemaDifference(from: engine.schema, to: next))
        }
    }

    func slow(_ statement: String, milliseconds: Int) {}
}
