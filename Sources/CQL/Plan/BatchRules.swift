import DataModel

/// The rules for combining statements in a batch; also for BATCH messages of the native protocol.
public enum BatchRules {
    /// - Throws: Invalid, naming the broken rule.
    public static func check(_ statements: [ModificationPlan], kind: BatchPlan.Kind, hasTimestamp: Bool)
        throws(ServerError)
    {
        let hasCounters = statements.contains(where: \.isCounter)
        let hasOthers = statements.contains { !$0.isCounter }
        let hasConditions = statements.contains(where: \.isConditional)
        switch kind {
        case .counter:
            if hasOthers { throw .invalid("Cannot include non-counter statement in a counter batch") }
        case .logged:
            if hasCounters { throw .invalid("Cannot include a counter statement in a logged batch") }
        case .unlogged:
            if hasCounters && hasOthers {
                throw .invalid("Counter and non-counter mutations cannot exist in the same batch")
            }
        }
        guard hasConditions else { return }
        if hasTimestamp { throw .invalid("Cannot provide custom timestamp for conditional BATCH") }
        if hasCounters { throw .invalid("Cannot include counter statements in a conditional batch") }
        if let first = statements.first, statements.contains(where: { $0.table.id != first.table.id }) {
            throw .invalid("Batch with conditions cannot span multiple tables")
        }
        if statements.contains(where: { $0.timestamp != nil }) {
            throw .invalid("Cannot provide custom timestamp for conditional updates")
        }
    }
}
