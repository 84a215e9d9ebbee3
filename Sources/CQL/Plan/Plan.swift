import DataModel
import Primitives

/// A statement validated against a schema. It can be executed any number of times while that schema is current.
///
/// **Thread safety**: immutable; shared by all executions.
public final class PlannedStatement: Sendable {
    public let plan: Plan
    /// The bind markers, in order of their index.
    public let bindVariables: [ColumnSpec]
    /// For each partition key column the index of the bind marker that provides it (`pk_index` of PREPARED); empty
    /// unless all have one.
    public let partitionKeyIndexes: [Int]
    /// Warnings to return to the client with every execution.
    public let warnings: [String]
    /// The schema version the plan is valid for; with another version the statement must be planned again.
    public let schemaVersion: UUID

    public init(
        plan: Plan, bindVariables: [ColumnSpec] = [], partitionKeyIndexes: [Int] = [], warnings: [String] = [],
        schemaVersion: UUID
    ) {
        self.plan = plan
        self.bindVariables = bindVariables
        self.partitionKeyIndexes = partitionKeyIndexes
        self.warnings = warnings
        self.schemaVersion = schemaVersion
    }

    /// The result columns, when the statement alone determines them (SELECT).
    public var resultMetadata: ResultMetadata? {
        if case .select(let select) = plan { return select.selection.metadata }
        return nil
    }
}

/// What a statement does, by its kind.
public enum Plan: Sendable {
    case select(SelectPlan)
    case modification(ModificationPlan)
    case batch(BatchPlan)
    case schema(SchemaPlan)
    case use(keyspace: String)
    case truncate(TableMetadata)
    case describe(DescribePlan)
}
