import DataModel
import Primitives

/// A statement that was checked against a schema and is ready to run, any number of times, while that schema holds.
///
/// **Thread safety**: immutable, shared by every execution.
public final class PlannedStatement: Sendable {
    public let plan: Plan
    /// The markers, in order of their index.
    public let bindVariables: [ColumnSpec]
    /// For each partition key column the marker it is bound to (PREPARED's `pk_index`); empty when not all are bound to one.
    public let partitionKeyIndexes: [Int]
    /// What the client should be told, each time it runs.
    public let warnings: [String]
    /// The schema it was checked against; another version means planning again.
    public let schemaVersion: UUID

    public init(
        plan: Plan, bindVariables: [ColumnSpec] = [], partitionKeyIndexes: [Int] = [], warnings: [String] = [], schemaVersion: UUID
    ) {
        self.plan = plan
        self.bindVariables = bindVariables
        self.partitionKeyIndexes = partitionKeyIndexes
        self.warnings = warnings
        self.schemaVersion = schemaVersion
    }

    /// The columns of the answer, when the statement alone decides them (a SELECT).
    public var resultMetadata: ResultMetadata? {
        if case .select(let select) = plan { return select.selection.metadata }
        return nil
    }
}

/// What a statement does.
public enum Plan: Sendable {
    case select(SelectPlan)
    case modification(ModificationPlan)
    case batch(BatchPlan)
    case schema(SchemaPlan)
    case use(keyspace: String)
    case truncate(TableMetadata)
    case describe(DescribePlan)
}
