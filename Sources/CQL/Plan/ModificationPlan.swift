import DataModel

/// A checked INSERT, UPDATE or DELETE.
public final class ModificationPlan: Sendable {
    public enum Kind: Sendable { case insert, update, delete }

    public let kind: Kind
    public let table: TableMetadata
    /// One restriction for each partition key column.
    public let partition: [KeyRestriction]
    /// Equalities on all clustering columns, but: nothing or a prefix or a slice in DELETE; nothing when only statics are written; IN anywhere
    /// but in INSERT.
    public let clustering: ClusteringSelection
    public let operations: [ColumnOperation]
    public let timestamp: Term?
    public let timeToLive: Term?
    public let condition: Condition

    public init(
        kind: Kind, table: TableMetadata, partition: [KeyRestriction], clustering: ClusteringSelection, operations: [ColumnOperation],
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

    /// What a DELETE removes.
    public enum Target: Sendable {
        /// Single columns: `operations` says which.
        case cells
        /// Whole rows: `clustering` covers all clustering columns.
        case rows
        /// All rows under a prefix or within bounds of the clustering key: a range tombstone.
        case slices
        /// Whole partitions, static row and all.
        case partitions
    }

    /// For INSERT and UPDATE always `.cells`.
    public let target: Target
    /// The write goes to the static row alone; no row of the partition is touched.
    public let affectsOnlyStatics: Bool
    /// Some list operation needs the list as it is.
    public let requiresRead: Bool

    /// The written row exists even when all its columns are null (INSERT does this, UPDATE does not).
    public var writesRowMarker: Bool { kind == .insert }
    public var isConditional: Bool { if case .none = condition { false } else { true } }
    public var isCounter: Bool { table.isCounter }
}

/// What happens to one column.
public struct ColumnOperation: Sendable {
    public enum Action: Sendable {
        /// The value replaces what was there; null deletes; a non-frozen collection is replaced as a whole.
        case set(Term)
        /// Elements go to the end of a list. The term is a list.
        case append(Term)
        case prepend(Term)
        /// Elements or entries go into a set or map.
        case add(Term)
        /// All elements equal to one of the term's leave the list (needs a read), the elements leave the set, the keys (term: a set) the map.
        case remove(Term)
        /// `m[key] = value`; for a list (needs a read) the key is an int index. A null value deletes.
        case setElement(key: Term, value: Term)
        /// `DELETE m[key]`, `DELETE s[element]`; for a list (needs a read) the key is an int index.
        case deleteElement(key: Term)
        /// `DELETE column`.
        case delete
        /// The term (bigint) is added to the counter.
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

/// What must hold for a lightweight transaction to write.
public enum Condition: Sendable {
    case none
    case ifNotExists
    case ifExists
    case columns([ColumnCondition])
}

/// One `IF column ...`.
public struct ColumnCondition: Sendable {
    public enum Access: Sendable {
        case column
        /// `column[key]`; for a list the key is an int index.
        case element(key: Term)
    }
    public enum Demand: Sendable {
        /// A null term is fulfilled by an absent value (`=`) or a present one (`!=`).
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

/// A checked BATCH.
public final class BatchPlan: Sendable {
    public enum Kind: Sendable { case logged, unlogged, counter }

    public let kind: Kind
    /// For all statements; they then have none of their own.
    public let timestamp: Term?
    public let statements: [ModificationPlan]

    public init(kind: Kind, timestamp: Term?, statements: [ModificationPlan]) {
        self.kind = kind
        self.timestamp = timestamp
        self.statements = statements
    }

    public var isConditional: Bool { statements.contains { $0.isConditional } }
}
