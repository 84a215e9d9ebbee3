import DataModel

/// A checked SELECT.
public final class SelectPlan: Sendable {
    public let table: TableMetadata
    public let partition: PartitionSelection
    public let clustering: ClusteringSelection
    /// Demands to check on each row; empty for most statements.
    public let filters: [RowFilter]
    public let selection: Selection
    /// SELECT DISTINCT: one row a partition, from its key and static row.
    public let isDistinct: Bool
    /// The number of primary key columns (partition key, then clustering) whose change begins a new group; 0 without GROUP BY.
    public let groupByPrefixCount: Int
    /// Rows within a partition come in the reverse of the stored order.
    public let isReversed: Bool
    /// Columns by which the rows of several partitions are to be sorted (ORDER BY with IN on the partition key):
    /// indexes into `selection.columns`, with whether descending. Empty: the order of the partitions.
    public let postSort: [(column: Int, isDescending: Bool)]
    public let limit: Term?
    public let perPartitionLimit: Term?
    public let allowsFiltering: Bool

    public init(
        table: TableMetadata, partition: PartitionSelection, clustering: ClusteringSelection, filters: [RowFilter], selection: Selection,
        isDistinct: Bool, groupByPrefixCount: Int, isReversed: Bool, postSort: [(column: Int, isDescending: Bool)], limit: Term?,
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

    /// Whether the answer is one row a group (or one in all) rather than one a row.
    public var isAggregated: Bool { !selection.aggregates.isEmpty || groupByPrefixCount > 0 }

    /// Whether it reads static columns only, so that a partition without rows but with a static row gives one.
    public var selectsOnlyPartitionLevel: Bool {
        selection.columns.allSatisfy { $0.kind == .partitionKey || $0.kind == .static } && clustering.isAll
    }
}

/// What a SELECT answers, computed from the columns of each row.
public final class Selection: Sendable {
    /// The columns to fetch for a row: what the selectors, filters and sorting need. `Selector.column` counts in these.
    public let columns: [ColumnMetadata]
    public let metadata: ResultMetadata
    /// One for each result column.
    public let selectors: [Selector]
    /// The result columns are the first fetched columns as they are: `selectors[i]` is `.column(i)`. Cells are copied straight.
    public let isPlain: Bool
    /// The aggregates that `Selector.aggregate` counts in.
    public let aggregates: [Aggregate]
    /// `count(*)` alone.
    public let isCountOnly: Bool
    /// `SELECT *`.
    public let isWildcard: Bool

    public init(
        columns: [ColumnMetadata], metadata: ResultMetadata, selectors: [Selector], aggregates: [Aggregate] = [], isWildcard: Bool = false
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
        if selectors.count == 1, case .aggregate(0) = selectors[0], aggregates.count == 1, aggregates[0].function.operation == .countRows {
            countOnly = true
        }
        isCountOnly = countOnly
    }
}

/// How a result column is computed from a row.
public indirect enum Selector: Sendable {
    /// The value of a fetched column.
    case column(Int)
    /// Write timestamp, microseconds, of a fetched column.
    case writeTime(Int)
    /// Remaining seconds to live of a fetched column.
    case timeToLive(Int)
    /// The same for every row.
    case term(Term)
    case call(ScalarFunction, [Selector])
    /// `m[key]` of a map, `s[element]` of a set. `type`: the collection's.
    case element(Selector, key: Term, type: CQLType)
    /// `m[from..to]`, bounds inclusive.
    case slice(Selector, from: Term?, to: Term?, type: CQLType)
    case list([Selector])
    case set([Selector], CQLType)
    case map([(key: Selector, value: Selector)], CQLType)
    case tuple([Selector])
    /// The result of an aggregate over the group.
    case aggregate(Int)
    /// A JSON object of the given names, for SELECT JSON.
    case json([(name: String, value: Selector, type: CQLType)])
}

/// An aggregate of a SELECT: its function and what it is fed from each row.
public struct Aggregate: Sendable {
    public let function: AggregateFunction
    /// Absent for `count(*)`.
    public let argument: Selector?

    public init(function: AggregateFunction, argument: Selector?) {
        self.function = function
        self.argument = argument
    }
}
