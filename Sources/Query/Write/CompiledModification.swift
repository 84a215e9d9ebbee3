import CQL
import Coordinator
import DataModel
import Primitives

/// A write with the values of its markers.
typealias BoundModification = (compiled: CompiledModification, values: ValueList)

/// An INSERT, UPDATE or DELETE with the data its executions share.
final class CompiledModification: Sendable {
    let plan: ModificationPlan
    /// Parts of the plan, so that a write need not retain plan and table to look at them.
    let table: UUID
    let target: ModificationPlan.Target
    let isConditional: Bool
    let isCounter: Bool
    let isVirtual: Bool
    let writesRowMarker: Bool
    let affectsOnlyStatics: Bool
    let writesStatics: Bool
    let writesRows: Bool
    let hasTimestamp: Bool
    let hasTimeToLive: Bool
    let replication: Replication
    /// The key, when the write affects one row of one partition, or one partition's static row; else nil.
    let single: CompiledKey?
    /// The row's cells, when every operation sets a column that is not a multi-cell collection; else nil.
    let cells: Cells?

    /// Columns and their new values.
    final class Cells: Sendable {
        let columns: [Int]
        let values: CompiledTerms

        init(columns: [Int], values: CompiledTerms) {
            self.columns = columns
            self.values = values
        }
    }

    /// The operations on static and on regular columns, which go into separate rows.
    let staticOperations: [ColumnOperation]
    let rowOperations: [ColumnOperation]
    let defaultTimeToLive: UInt32

    init(plan: ModificationPlan, replication: Replication) {
        self.plan = plan
        self.replication = replication
        table = plan.table.id
        target = plan.target
        isConditional = plan.isConditional
        isCounter = plan.isCounter
        isVirtual = plan.table.isVirtual
        writesRowMarker = plan.writesRowMarker
        affectsOnlyStatics = plan.affectsOnlyStatics
        hasTimestamp = plan.timestamp != nil
        hasTimeToLive = plan.timeToLive != nil
        let isSingle =
            !plan.clustering.hasSlice
            && (plan.clustering.prefixCount == plan.table.clustering.count || plan.affectsOnlyStatics)
        single = isSingle ? CompiledKey(plan.table, partition: plan.partition, clustering: plan.clustering) : nil
        staticOperations = plan.operations.filter { $0.column.isStatic }
        rowOperations = plan.operations.filter { !$0.column.isStatic }
        writesStatics = !staticOperations.isEmpty
        writesRows = !rowOperations.isEmpty
        var columns: [Int] = []
        var terms: [Term] = []
        for operation in rowOperations {
            guard case .set(let term) = operation.action, !operation.column.type.isMultiCell else { break }
            columns.append(operation.column.id)
            terms.append(term)
        }
        cells = columns.count == rowOperations.count ? Cells(columns: columns, values: CompiledTerms(terms)) : nil
        defaultTimeToLive = UInt32(clamping: plan.table.options.defaultTimeToLive)
    }
}

/// The times of one write: timestamp, current time, TTL.
struct WriteTimes {
    /// Microseconds since 1970.
    var timestamp: Int64
    /// Seconds since 1970.
    var now: UInt32
    /// Seconds; 0: does not expire.
    var ttl: UInt32 = 0

    var expires: UInt32 { ttl == 0 ? .max : UInt32(min(UInt64(now) + UInt64(ttl), UInt64(UInt32.max - 1))) }
    var deletion: DeletionTime { DeletionTime(timestamp: timestamp, localDeletion: now) }
    /// A deletion just before the write: deletes a collection's old contents but not its replacement.
    var before: DeletionTime { DeletionTime(timestamp: timestamp - 1, localDeletion: now) }
}
