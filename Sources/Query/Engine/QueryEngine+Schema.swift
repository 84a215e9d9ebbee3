import CQL
import DataModel
import Platform
import Primitives
import Synchronization

extension QueryEngine {
    /// Executes every plan except reads and writes of rows.
    func other(_ plan: Plan, _ context: RequestContext) throws(ServerError) -> Answer {
        switch plan {
        case .use(let keyspace):
            guard schema.keyspace(keyspace) != nil else { throw .invalid("Keyspace '\(keyspace)' does not exist") }
            return Answer(result: .setKeyspace(keyspace))
        case .describe(let describe):
            return Answer(result: .rows(try DescribeExecutor(schema: schema, node: node).run(describe)))
        case .truncate(let table):
            try checkWritable(table)
            let id = context.workspace.context.nextTimeUUID()
            // A schema change writes files and waits for other nodes.
            try Fiber.blocking(.control) { () throws(ServerError) in try truncate(table, newTableID: id) }
            return Answer(result: .void)
        case .schema(let change):
            let id = context.workspace.context.nextTimeUUID()
            return try Fiber.blocking(.control) { () throws(ServerError) in try apply(change, newTableID: id) }
        case .select, .modification, .batch:
            throw ServerError(.serverError, "a compiled plan was executed as another kind")
        }
    }

    /// Gives the table a new id. Data with the old id then belongs to no table, also in hints, logged batches and
    /// messages in flight.
    private func truncate(_ table: TableMetadata, newTableID: UUID) throws(ServerError) {
        try host.changeEverywhere(self) { (before) throws(ServerError) in
            guard let present = before.table(table.keyspace, table.name) else {
                throw .invalid("table \(table.qualifiedName) does not exist")
            }
            return before.setting(present.emptied(newTableID))
        }
    }

    /// Changes the schema through the host, which orders changes and makes them durable before anyone sees them.
    private func apply(_ plan: SchemaPlan, newTableID: UUID) throws(ServerError) -> Answer {
        let outcome = Mutex<SchemaOutcome?>(nil)
        try host.change(self) { [self] (before) throws(ServerError) in
            let next = try plan.apply(
                to: SystemKeyspaces.added(to: before), newTableID: newTableID, datacenters: node.dataCenters)
            outcome.withLock { $0 = next }
            return next.change == nil ? nil : next.schema
        }
        guard let outcome = outcome.withLock({ $0 }) else { return Answer(result: .void) }
        guard let change = outcome.change else { return Answer(result: .void, warnings: outcome.warnings) }
        return Answer(result: .schemaChange(change), warnings: outcome.warnings)
    }
}
