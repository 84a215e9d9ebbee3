import CQL
import DataModel
import Messages
import Primitives
import Synchronization

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
            do throws(ServerError) { try truncate(table, newTableID: space.context.nextTimeUUID()) } catch { throw .server(error) }
            return Answer(result: .void)
        case .schema(let change):
            guard io == .blocking else { throw .wouldBlock }
            do throws(ServerError) { return try apply(change, newTableID: space.context.nextTimeUUID()) } catch { throw .server(error) }
        case .select, .modification, .batch:
            throw .server(ServerError(.serverError, "a compiled plan was executed as another kind"))
        }
    }

    /// Gives the table another id: what has the old one is of no table any more, wherever it is, in hints, logged batches and messages on their way as well.
    private func truncate(_ table: TableMetadata, newTableID: UUID) throws(ServerError) {
        try host.changeEverywhere(self) { (before) throws(ServerError) in
            guard let present = before.table(table.keyspace, table.name) else {
                throw .invalid("table \(table.qualifiedName) does not exist")
            }
            return before.setting(present.emptied(newTableID))
        }
    }

    /// Changes the schema through the host, which orders changes and keeps them before anybody sees them.
    private func apply(_ plan: SchemaPlan, newTableID: UUID) throws(ServerError) -> Answer {
        let outcome = Mutex<SchemaOutcome?>(nil)
        try host.change(self) { [self] (before) throws(ServerError) in
            let next = try plan.apply(to: SystemKeyspaces.added(to: before), newTableID: newTableID, datacenters: node.dataCenters)
            outcome.withLock { $0 = next }
            return next.change == nil ? nil : next.schema
        }
        guard let outcome = outcome.withLock({ $0 }) else { return Answer(result: .void) }
        guard let change = outcome.change else { return Answer(result: .void, warnings: outcome.warnings) }
        return Answer(result: .schemaChange(change), warnings: outcome.warnings)
    }
}
