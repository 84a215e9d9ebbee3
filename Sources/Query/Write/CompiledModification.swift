import CQL
import Coordinator
import DataModel

/// An INSERT, UPDATE or DELETE with all that its executions share.
final class CompiledModification: Sendable {
    let plan: ModificationPlan
    let replication: Replication
    /// One row of one partition, so that no product of keys is needed.
    let isSingleRow: Bool
    /// Operations on statics and on regular columns, which go to rows of their own.
    let staticOperations: [ColumnOperation]
    let rowOperations: [ColumnOperation]
    /// Of lists whose contents an operation or condition must know.
    let defaultTimeToLive: UInt32

    init(plan: ModificationPlan, replication: Replication) {
        self.plan = plan
        self.replication = replication
        isSingleRow =
            plan.partition.allSatisfy { $0.isEqual } && plan.clustering.isEqualOnly && !plan.clustering.hasSlice
            && (plan.clustering.prefixCount == plan.table.clustering.count || plan.affectsOnlyStatics)
        staticOperations = plan.operations.filter { $0.column.isStatic }
        rowOperations = plan.operations.filter { !$0.column.isStatic }
        defaultTimeToLive = UInt32(clamping: plan.table.options.defaultTimeToLive)
    }
}

/// The times of one write.
struct WriteTimes {
    /// Microseconds since 1970.
    var timestamp: Int64
    /// Seconds since 1970.
    var now: UInt32
    /// Seconds; 0: for ever.
    var ttl: UInt32 = 0

    var expires: UInt32 { ttl == 0 ? .max : UInt32(min(UInt64(now) + UInt64(ttl), UInt64(UInt32.max - 1))) }
    var deletion: DeletionTime { DeletionTime(timestamp: timestamp, localDeletion: now) }
    /// Just before the write: what a replaced collection held, but not what it is replaced with.
    var before: DeletionTime { DeletionTime(timestamp: timestamp - 1, localDeletion: now) }
}
