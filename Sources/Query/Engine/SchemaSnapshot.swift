import Coordinator
import DataModel

/// The schema of one generation and the data computed from it.
final class SchemaSnapshot: Sendable {
    let schema: Schema
    /// Grows with every schema change.
    let generation: UInt64
    private let replications: [String: Replication]

    init(schema: Schema, generation: UInt64, dataCenter: String, dataCenters: [String]) {
        self.schema = schema
        self.generation = generation
        replications = schema.keyspaces.mapValues {
            Replication(options: $0.replication, dataCenter: dataCenter, dataCenters: dataCenters)
        }
    }

    func replication(of keyspace: String) -> Replication { replications[keyspace] ?? .here }
}
