import DataModel

/// A validated SELECT.
public final class SelectPlan: Sendable {
    public let table: TableMetadata
    public let partition: PartitionSelection
    public let clustering: ClusteringSelection
    /// Conditions to check on each row; empty for most statements.
    public let filters: [RowFilter]
    public let selection: Selection
    /// SELECT DISTINCT: one row per partition, from its key and static row.
    public let isDistinct: Bool
    /// The number of leading primary key columns that define a group; 0 without GROUP BY.
    public let groupByPrefixCount: Int
    /// Whether rows within a partition are returned in reverse stored order.
    public let isReversed: Bool
    /// The columns to sort the rows of several partitions by (ORDER BY with IN on the partition key), as indexes into
    /// `selection.columns`. If empty, rows stay in the order of the partitions.
    public let postSort: [(column: Int, isDescending: Bool)]
    public let limit: Term?
    public let perPartitionLimit: Term?
    public let allowsFiltering: Bool

    public init(
        table: TableMetadata, partition: PartitionSelection, clustering: ClusteringSelection, filters: [RowFilter],
        selection: Selection,
        isDistinct: Bool, groupByPrefixCount: Int, isReversed: Bool, postSort: [(column: Int, isDescending: Bool)],
        limit: Term?,
        perPartitionLimit: Term?, allowsFiltering: Bool
    ) {
        self.table = table
        self.partition = partition
        self.clustering = clustering
        self.filters = filters
        self.selection = selection
        self.isDistinct = isDistinct
        self.groupByPrefixCount = groupByPrefixCount
        self.isReversed = isReversed
        self.postSort = postSort
        self.limit = limit
        self.perPartitionLimit = perPartitionLimit
        self.allowsFiltering = allowsFiltering
    }

    /// Whether the result has one row per group (or a single row) rather than one per row read.
    public var isAggregated: Bool { !selection.aggregates.isEmpty || groupByPrefixCount > 0 }
}

/// The result columns of a SELECT, computed from the columns of each row.
public final class Selection: Sendable {
    /// The columns to fetch, for selectors, filters and sorting. `Selector.column` is an index into it.
    public let columns: [ColumnMetadata]
    public let metadata: ResultMetadata
    /// One per result column.
    public let selectors: [Selector]
    /// Whether the result columns are the first fetched columns: `selectors[i]` is `.column(i)`. Cells are then copied
    /// directly.
    public let isPlain: Bool
    /// The aggregates; `Selector.aggregate` is an index into it.
    public let aggregates: [Aggregate]
    /// Whether the selection is just `count(*)`.
    public let isCountOnly: Bool
    /// `SELECT *`.
    public let isWildcard: Bool

    public init(
        columns: [ColumnMetadata], metadata: ResultMetadata, selectors: [Selector], aggregates: [Aggregate] = [],
        isWildcard: Bool = false
    ) {
        self.columns = columns
        self.metadata = metadata
        self.selectors = selectors
        self.aggregates = aggregates
        self.isWildcard = isWildcard
        var plain = true
        for (index, selector) in selectors.enumerated() {
            if case .column(index) = selector { continue }
            plain = false
        }
        isPlain = plain && aggregates.isEmpty
        var countOnly = false
        if selectors.count == 1, case .aggregate(0) = selectors[0], aggregates.count == 1,
            aggregates[0].function.operation == .countRows
        {
            countOnly = true
        }
        isCountOnly = countOnly
    }
}

/// How a result column is computed from a row.
public indirect enum Selector: Sendable {
    /// The value of a fetched column.
    case column(Int)
    /// The write timestamp of a fetched column, in microseconds.
    case writeTime(Int)
    /// The remaining time to live of a fetched column, in seconds.
    case timeToLive(Int)
    /// A value that does not depend on the row.
    case term(Term)
    case call(ScalarFunction, [Selector])
    /// `m[key]` of a map, `s[element]` of a set. `type` is the collection's type.
    case element(Selector, key: Term, type: CQLType)
    /// `m[from..to]`; the bounds are inclusive.
    case slice(Selector, from: Term?, to: Term?, type: CQLType)
    case list([Selector])
    case set([Selector], CQLType)
    case map([(key: Selector, value: Selector)], CQLType)
    case tuple([Selector])
    /// The result of an aggregate over the group.
    case aggregate(Int)
    /// A JSON object with the given members, for SELECT JSON.
    case json([(name: String, value: Selector, type: CQLType)])
}

/// An aggregate of a SELECT: the function and its argument.
public struct Aggregate: Sendable {
    public let function: AggregateFunction
    /// Nil for `count(*)`.
    public let argument: Selector?

    public init(function: AggregateFunction, argument: Selector?) {
        self.function = function
        self.argument = argument
    }
}
