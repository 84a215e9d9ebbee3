import CQL
import DataModel
import Messages
import Primitives

extension QueryEngine {
    /// Everything but reading and writing rows.
    func other(_ plan: Plan, _ options: QueryOptions, _ io: IOMode, _ space: inout Workspace) throws(QueryFailure) -> Answer {
        switch plan {
        case .use(let keyspace):
            guard schema.keyspace(keyspace) != nil else { throw .invalid("Keyspace '\(keyspace)' does not exist") }
            return Answer(result: .setKeyspace(keyspace))
        case .describe(let describe):
            do throws(ServerError) {
                return Answer(result: .rows(try DescribeExecutor(schema: schema, node: node).run(describe)))
            } catch { throw .server(error) }
        case .truncate(let table):
            guard !table.isVirtual else {
                throw .server(ServerError(.unauthorized, "\(table.keyspace) keyspace is not user-modifiable."))
            }
            guard io == .blocking else { throw .wouldBlock }
            do throws(ReplicaError) { try port(options).truncate(table: table.id) } catch {
                if case .storage(let why) = error { throw .server(ServerError(.truncateError, "Error during truncate: \(why)")) }
                throw QueryFailure(error)
            }
            return Answer(result: .void)
        case .schema(let change):
            guard io == .blocking else { throw .wouldBlock }
            do throws(ServerError) { return try apply(change, newTableID: space.context.nextTimeUUID()) } catch { throw .server(error) }
        case .select, .modification, .batch:
            throw .server(ServerError(.serverError, "a compiled plan was executed as another kind"))
        }
    }

    /// Changes the schema: one change at a time, kept by the host before anybody sees it.
    private func apply(_ plan: SchemaPlan, newTableID: UUID) throws(ServerError) -> Answer {
        try schemaLock.withLock { (_) throws(ServerError) -> Answer in
            let before = schema
            let outcome = try plan.apply(to: before, newTableID: newTableID, datacenters: [node.dataCenter])
            guard let change = outcome.change else { return Answer(result: .void, warnings: outcome.warnings) }
            let created = outcome.schema.tables.values.filter { before.tables[$0.id] == nil }
            let altered = outcome.schema.tables.values.filter { table in before.tables[table.id].map { $0 !== table } ?? false }
            let dropped = before.tables.values.filter { outcome.schema.tables[$0.id] == nil }
            try host.store(outcome.schema, created: created, altered: altered)
            install(outcome.schema)
            // Drivers of protocol version 4 keep a statement's result columns until they prepare it again.
            let changed = Set((altered + dropped).map(\.id))
            cache.remove { !changed.isDisjoint(with: $0.compiled.tables) }
            host.dropped(dropped)
            host.announce(change)
            return Answer(result: .schemaChange(change), warnings: outcome.warnings)
        }
    }
}
