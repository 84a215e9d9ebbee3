import CQL
import Coordinator
import DataModel

/// A SELECT with the data its executions share.
final class CompiledSelect: Sendable {
    let plan: SelectPlan
    let layout: SlotLayout
    let replication: Replication
    /// Identifies the statement in paging states.
    let fingerprint: UInt64
    /// The statement's text is so long that its keys are computed by a background thread.
    let isLarge: Bool
    /// For each filter the slots of its columns.
    let filterSlots: [[Int]]
    /// Whether a partition without rows but with a static row yields a result row.
    let givesStaticOnlyRows: Bool
    /// Whether the static row must be read.
    let readsStatics: Bool
    /// Whether the statement is a `count(*)` that needs only the liveness of each row.
    let countsOnly: Bool
    /// The key, when the statement reads one row by its full primary key; else nil.
    let point: CompiledKey?
    /// Whether every partition is named, so that each takes gets or a scan of its own.
    let isByKey: Bool
    /// Whether all clustering columns are restricted to values, so that each row is read by its full key.
    let namesRows: Bool

    init(plan: SelectPlan, replication: Replication, fingerprint: UInt64, isLarge: Bool) throws(ServerError) {
        self.plan = plan
        self.replication = replication
        self.fingerprint = fingerprint
        self.isLarge = isLarge
        let table = plan.table
        layout = SlotLayout(table: table, columns: plan.selection.columns)
        var slots: [[Int]] = []
        var filtersRows = false
        for filter in plan.filters {
            var places: [Int] = []
            for column in filter.columns {
                guard let slot = layout.slot(of: column) else {
                    throw ServerError(.serverError, "the filtered column \(column.name) is not among the fetched ones")
                }
                places.append(slot)
                if column.kind == .clustering || column.kind == .regular { filtersRows = true }
            }
            slots.append(places)
        }
        filterSlots = slots
        givesStaticOnlyRows = table.hasStatics && plan.clustering.isAll && !filtersRows
        readsStatics = table.hasStatics && (!layout.staticSlots.isEmpty || givesStaticOnlyRows)
        countsOnly =
            plan.selection.isCountOnly && !table.hasStatics && plan.filters.isEmpty && plan.groupByPrefixCount == 0
            && plan.perPartitionLimit == nil && !plan.isDistinct
        if case .keys(let restrictions) = plan.partition {
            isByKey = true
            namesRows = !plan.clustering.hasSlice && plan.clustering.prefixCount == table.clustering.count
            point =
                namesRows && !readsStatics
                ? CompiledKey(table, partition: restrictions, clustering: plan.clustering) : nil
        } else {
            isByKey = false
            namesRows = false
            point = nil
        }
    }
}

/// The parameters of one execution of a SELECT.
struct SelectRun {
    /// Seconds since 1970.
    var now: UInt32
    var values: ValueList
    /// Rows (groups) per page; `Int.max` without paging.
    var pageSize: Int
    /// Rows (groups) that LIMIT still allows.
    var limit: Int
    var perPartitionLimit: Int
    var limits: QueryLimits
    var deadline: Deadline
    /// Of the answer.
    var memory: MemoryAccount?
}
