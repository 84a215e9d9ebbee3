import DataModel

/// A validated INSERT, UPDATE or DELETE.
public final class ModificationPlan: Sendable {
    public enum Kind: Sendable { case insert, update, delete }

    public let kind: Kind
    public let table: TableMetadata
    /// One restriction per partition key column.
    public let partition: [KeyRestriction]
    /// Normally equalities on all clustering columns. A DELETE may restrict none, a prefix or a slice; a statement that
    /// writes only static columns restricts none. IN is allowed except in INSERT.
    public let clustering: ClusteringSelection
    public let operations: [ColumnOperation]
    public let timestamp: Term?
    public let timeToLive: Term?
    public let condition: Condition

    public init(
        kind: Kind, table: TableMetadata, partition: [KeyRestriction], clustering: ClusteringSelection,
        operations: [ColumnOperation],
        timestamp: Term?, timeToLive: Term?, condition: Condition
    ) {
        self.kind = kind
        self.table = table
        self.partition = partition
        self.clustering = clustering
        self.operations = operations
        self.timestamp = timestamp
        self.timeToLive = timeToLive
        self.condition = condition
        requiresRead = operations.contains { $0.requiresRead }
        let clusteringCount = table.clustering.count
        let coversRow = clustering.prefixCount == clusteringCount && !clustering.hasSlice
        affectsOnlyStatics =
            clusteringCount > 0 && !coversRow && clustering.isAll
            && (!operations.isEmpty && operations.allSatisfy { $0.column.isStatic }
                || operations.isEmpty && kind != .delete)
        target =
            operations.isEmpty && kind == .delete
            ? (coversRow && clusteringCount > 0 ? .rows : clustering.isAll ? .partitions : .slices)
            : .cells
    }

    /// What a DELETE deletes.
    public enum Target: Sendable {
        /// The columns named by `operations`.
        case cells
        /// Whole rows; `clustering` restricts all clustering columns.
        case rows
        /// All rows with a clustering prefix or within clustering bounds: a range tombstone.
        case slices
        /// Whole partitions including the static row.
        case partitions
    }

    /// Always `.cells` for INSERT and UPDATE.
    public let target: Target
    /// Whether only the static row is written and no other row.
    public let affectsOnlyStatics: Bool
    /// Whether a list operation needs to read the list first.
    public let requiresRead: Bool

    /// Whether the written row exists even when all its columns are null: true for INSERT, false for UPDATE.
    public var writesRowMarker: Bool { kind == .insert }
    public var isConditional: Bool { if case .none = condition { false } else { true } }
    public var isCounter: Bool { table.isCounter }
}

/// An operation on one column.
public struct ColumnOperation: Sendable {
    public enum Action: Sendable {
        /// Replaces the value; null deletes it. A non-frozen collection is replaced as a whole.
        case set(Term)
        /// Appends elements to a list. The term is a list.
        case append(Term)
        case prepend(Term)
        /// Adds elements to a set or entries to a map.
        case add(Term)
        /// Removes from a list all elements equal to one in the term (needs a read), from a set the elements, or from a
        /// map the keys (the term is a set).
        case remove(Term)
        /// `m[key] = value`; for a list (needs a read) the key is an int index. A null value deletes.
        case setElement(key: Term, value: Term)
        /// `DELETE m[key]`, `DELETE s[element]`. For a list the key is an int index, and a read is needed.
        case deleteElement(key: Term)
        /// `DELETE column`.
        case delete
        /// Adds the term (bigint) to the counter.
        case increment(Term)
        case decrement(Term)
    }

    public let column: ColumnMetadata
    public let action: Action

    public init(column: ColumnMetadata, action: Action) {
        self.column = column
        self.action = action
    }

    public var requiresRead: Bool {
        guard case .list = column.type else { return false }
        switch action {
        case .remove, .setElement, .deleteElement: return true
        default: return false
        }
    }
}

/// The condition of a lightweight transaction.
public enum Condition: Sendable {
    case none
    case ifNotExists
    case ifExists
    case columns([ColumnCondition])
}

/// One `IF column ...` condition.
public struct ColumnCondition: Sendable {
    public enum Access: Sendable {
        case column
        /// `column[key]`; for a list the key is an int index.
        case element(key: Term)
    }
    public enum Demand: Sendable {
        /// With a null term, `=` holds for an absent value and `!=` for a present one.
        case compare(ComparisonOperator, Term)
        case oneOf(TermList)
    }

    public let column: ColumnMetadata
    public let access: Access
    public let demand: Demand

    public init(column: ColumnMetadata, access: Access, demand: Demand) {
        self.column = column
        self.access = access
        self.demand = demand
    }
}

/// A validated BATCH.
public final class BatchPlan: Sendable {
    public enum Kind: Sendable { case logged, unlogged, counter }

    public let kind: Kind
    /// Applies to all statements, which then have no timestamps of their own.
    public let timestamp: Term?
    public let statements: [ModificationPlan]

    public init(kind: Kind, timestamp: Term?, statements: [ModificationPlan]) {
        self.kind = kind
        self.timestamp = timestamp
        self.statements = statements
    }
}
