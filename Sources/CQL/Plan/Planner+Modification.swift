import DataModel

extension Planner {
    /// - Parameter inBatch: the batch the statement is part of, whose timestamp excludes one of its own.
    mutating func modification(
        _ statement: ModificationStatement, inBatch batch: BatchStatement?
    ) throws(ServerError) -> ModificationPlan {
        let table = try table(statement.table)
        try Self.refuseSystem(table.keyspace)
        if table.isCounter {
            if statement.timestamp != nil { throw .invalid("Cannot provide custom timestamp for counter updates") }
            if statement.timeToLive != nil { throw .invalid("Cannot provide custom TTL for counter updates") }
        }
        switch statement.body {
        case .insert(let columns, let values): return try insert(statement, columns, values, table)
        case .insertJSON(let json): return try insertJSON(statement, json, table)
        case .update(let assignments): return try update(statement, assignments, table)
        case .delete(let deletions): return try delete(statement, deletions, table)
        }
    }

    private mutating func attributes(
        _ statement: ModificationStatement, _ table: TableMetadata
    ) throws(ServerError) -> (timestamp: Term?, timeToLive: Term?) {
        let receiver = Receiver(keyspace: table.keyspace, table: table.name, name: "[timestamp]", type: .bigint)
        var timestamp: Term?
        var timeToLive: Term?
        if let expression = statement.timestamp { timestamp = try term(expression, for: receiver) }
        if let expression = statement.timeToLive {
            timeToLive = try term(expression, for: receiver.with(name: "[ttl]", type: .int))
            if let bytes = timeToLive?.constantBytes { _ = try TimeToLive.check(bytes) }
        }
        return (timestamp, timeToLive)
    }

    // MARK: INSERT

    private mutating func insert(
        _ statement: ModificationStatement, _ names: [String], _ values: [Expression], _ table: TableMetadata
    ) throws(ServerError) -> ModificationPlan {
        if table.isCounter { throw .invalid("INSERT statements are not allowed on counter tables, use UPDATE instead") }
        guard names.count == values.count else { throw .invalid("Unmatched column names/values") }
        var keys: [String: Term] = [:]
        var operations: [ColumnOperation] = []
        var seen: Set<String> = []
        for (name, value) in zip(names, values) {
            let column = try Self.column(name, in: table)
            guard seen.insert(name).inserted else { throw .invalid("The column names contains duplicates") }
            let term = try term(value, for: Receiver(column, in: table))
            if column.isPrimaryKey { keys[name] = term } else { operations.append(ColumnOperation(column: column, action: .set(term))) }
        }
        return try insertPlan(statement, keys, operations, table)
    }

    private mutating func insertJSON(
        _ statement: ModificationStatement, _ json: ModificationStatement.JSON, _ table: TableMetadata
    ) throws(ServerError) -> ModificationPlan {
        if table.isCounter { throw .invalid("INSERT statements are not allowed on counter tables, use UPDATE instead") }
        let document = try term(
            json.document, for: Receiver(keyspace: table.keyspace, table: table.name, name: "[json]", type: .text))
        var keys: [String: Term] = [:]
        var operations: [ColumnOperation] = []
        if let text = document.constantBytes {
            do throws(ValueError) {
                let members = try JSONInsert.members(text, of: table)
                for column in table.columns {
                    guard let value = members[column.name] else {
                        if !json.absentIsUnset, !column.isPrimaryKey {
                            operations.append(ColumnOperation(column: column, action: .set(.null(column.type))))
                        }
                        continue
                    }
                    let term = try JSONInsert.bytes(value, column: column.name, column.type).map { Term.constant($0, column.type) }
                    if column.isPrimaryKey {
                        keys[column.name] = term ?? .null(column.type)
                    } else {
                        operations.append(ColumnOperation(column: column, action: .set(term ?? .null(column.type))))
                    }
                }
            } catch { throw error.serverError }
        } else {
            for column in table.columns {
                let node = Term.Node.jsonField(
                    document: document, name: column.name, absentIsUnset: json.absentIsUnset && !column.isPrimaryKey, table: table)
                let term = Term(type: column.type, node: node)
                if column.isPrimaryKey {
                    keys[column.name] = term
                } else {
                    operations.append(ColumnOperation(column: column, action: .set(term)))
                }
            }
        }
        return try insertPlan(statement, keys, operations, table)
    }

    private mutating func insertPlan(
        _ statement: ModificationStatement, _ keys: [String: Term], _ operations: [ColumnOperation], _ table: TableMetadata
    ) throws(ServerError) -> ModificationPlan {
        var partition: [KeyRestriction] = []
        var missing: [String] = []
        for column in table.partitionKey {
            if let term = keys[column.name] { partition.append(.equal(term)) } else { missing.append(column.name) }
        }
        guard missing.isEmpty else { throw .invalid("Some partition key parts are missing: \(missing.joined(separator: ", "))") }
        var clustering = ClusteringSelection()
        for column in table.clustering {
            if let term = keys[column.name] { clustering.parts.append(.equal(term)) } else { missing.append(column.name) }
        }
        // Without any clustering column, statics alone may be written.
        let writesOnlyStatics = clustering.parts.isEmpty && !operations.isEmpty && operations.allSatisfy { $0.column.isStatic }
        guard missing.isEmpty || writesOnlyStatics else {
            throw .invalid("Some clustering keys are missing: \(missing.joined(separator: ", "))")
        }
        let attributes = try attributes(statement, table)
        let condition: Condition = if case .notExists = statement.condition { .ifNotExists } else { .none }
        try checkConditional(statement, condition, table)
        return ModificationPlan(
            kind: .insert, table: table, partition: partition, clustering: clustering, operations: operations,
            timestamp: attributes.timestamp, timeToLive: attributes.timeToLive, condition: condition)
    }

    // MARK: UPDATE

    private mutating func update(
        _ statement: ModificationStatement, _ assignments: [ModificationStatement.Assignment], _ table: TableMetadata
    ) throws(ServerError) -> ModificationPlan {
        let attributes = try attributes(statement, table)
        var operations: [ColumnOperation] = []
        for assignment in assignments { operations.append(try operation(assignment, table)) }
        try refuseConflicts(operations)
        let condition = try condition(statement.condition, table)
        let onlyStatics = operations.allSatisfy { $0.column.isStatic } && condition.touchesOnlyStatics
        let restrictions = try modificationRestrictions(
            statement.relations, table, verb: "UPDATE", affectsOnlyStatics: onlyStatics && !table.clustering.isEmpty, allowsSlices: false)
        try checkConditional(statement, condition, table, restrictions)
        return ModificationPlan(
            kind: .update, table: table, partition: restrictions.keys, clustering: restrictions.clustering, operations: operations,
            timestamp: attributes.timestamp, timeToLive: attributes.timeToLive, condition: condition)
    }

    private func refuseConflicts(_ operations: [ColumnOperation]) throws(ServerError) {
        var byColumn: [String: Int] = [:]
        for operation in operations {
            byColumn[operation.column.name, default: 0] += 1
            guard byColumn[operation.column.name, default: 0] > 1 else { continue }
            // Several elements of one collection may be set; anything else twice is ambiguous.
            let own = operations.filter { $0.column == operation.column }
            let areElements = own.allSatisfy { if case .setElement = $0.action { true } else { false } }
            if !areElements { throw .invalid("Multiple incompatible setting of column \(operation.column.name)") }
        }
    }

    // MARK: DELETE

    private mutating func delete(
        _ statement: ModificationStatement, _ deletions: [ModificationStatement.Deletion], _ table: TableMetadata
    ) throws(ServerError) -> ModificationPlan {
        let attributes = try attributes(statement, table)
        var operations: [ColumnOperation] = []
        for deletion in deletions { operations.append(try operation(deletion, table)) }
        let condition = try condition(statement.condition, table)
        let onlyStatics =
            !operations.isEmpty && operations.allSatisfy { $0.column.isStatic } && condition.touchesOnlyStatics && !table.clustering.isEmpty
        let restrictions = try modificationRestrictions(
            statement.relations, table, verb: "DELETE", affectsOnlyStatics: onlyStatics, allowsSlices: true)
        let coversRow = restrictions.clustering.prefixCount == table.clustering.count && !restrictions.clustering.hasSlice
        if operations.contains(where: { !$0.column.isStatic }), !coversRow {
            if restrictions.clustering.hasSlice { throw .invalid("Range deletions are not supported for specific columns") }
            let missing = table.clustering.filter { !restrictions.clusteringColumns.contains($0) }
            throw .invalid("Some clustering keys are missing: \(missing.map(\.name).joined(separator: ", "))")
        }
        try checkConditional(statement, condition, table, restrictions)
        if case .none = condition {
        } else if !coversRow, !onlyStatics {
            let touchesStaticsOnly = operations.isEmpty ? false : condition.touchesOnlyStatics
            if !touchesStaticsOnly {
                throw .invalid(
                    "DELETE statements must restrict all PRIMARY KEY columns with equality relations in order to use IF condition on non static columns"
                )
            }
        }
        return ModificationPlan(
            kind: .delete, table: table, partition: restrictions.keys, clustering: restrictions.clustering, operations: operations,
            timestamp: attributes.timestamp, timeToLive: nil, condition: condition)
    }

    // MARK: IF

    private mutating func condition(
        _ clause: ModificationStatement.IfClause, _ table: TableMetadata
    ) throws(ServerError) -> Condition {
        switch clause {
        case .none: return .none
        case .notExists: return .ifNotExists
        case .exists: return .ifExists
        case .conditions(let clauses):
            var conditions: [ColumnCondition] = []
            for clause in clauses { conditions.append(try columnCondition(clause, table)) }
            return .columns(conditions)
        }
    }

    private mutating func columnCondition(_ clause: ConditionClause, _ table: TableMetadata) throws(ServerError) -> ColumnCondition {
        let column = try Self.column(clause.column, in: table)
        if column.isPrimaryKey { throw .invalid("PRIMARY KEY column '\(column.name)' cannot have IF conditions") }
        if let field = clause.field {
            throw .invalid("Cannot use field \(field) of column \(column.name): it is of type \(column.type), not a user-defined type")
        }
        var receiver = Receiver(column, in: table)
        var access = ColumnCondition.Access.column
        if let key = clause.key {
            switch column.type.unfrozen {
            case .list(let element):
                access = .element(key: try term(key, for: receiver.with(name: "idx(\(column.name))", type: .int)))
                receiver = receiver.with(name: "value(\(column.name))", type: element)
            case .map(let keyType, let valueType):
                access = .element(key: try term(key, for: receiver.with(name: "key(\(column.name))", type: keyType)))
                receiver = receiver.with(name: "value(\(column.name))", type: valueType)
            case .set: throw .invalid("Invalid element access syntax for set column \(column.name)")
            default: throw .invalid("Invalid element access syntax for non-collection column \(column.name)")
            }
        }
        if let comparison = clause.comparison, let value = clause.value {
            if comparison != .equal, comparison != .notEqual, receiver.type.containsDuration {
                throw .invalid("Slice conditions ( \(comparison.rawValue) ) are not supported on durations")
            }
            return ColumnCondition(column: column, access: access, demand: .compare(comparison, try term(value, for: receiver)))
        }
        switch clause.values {
        case .list(let expressions)?:
            var terms: [Term] = []
            for expression in expressions { terms.append(try term(expression, for: receiver)) }
            return ColumnCondition(column: column, access: access, demand: .oneOf(.terms(terms)))
        case .marker(let expression)?:
            let list = receiver.with(name: "in(\(receiver.name))", type: .list(receiver.type.asFrozen))
            return ColumnCondition(column: column, access: access, demand: .oneOf(.bound(try term(expression, for: list))))
        case nil: throw .invalid("Condition on \(column.name) has no value")
        }
    }

    private func checkConditional(
        _ statement: ModificationStatement, _ condition: Condition, _ table: TableMetadata, _ restrictions: Restrictions? = nil
    ) throws(ServerError) {
        if case .none = condition { return }
        if table.isCounter { throw .invalid("Conditional updates are not supported on counter tables") }
        if statement.timestamp != nil { throw .invalid("Cannot provide custom timestamp for conditional updates") }
        guard let restrictions else { return }
        if restrictions.hasPartitionIN { throw .invalid("IN on the partition key is not supported with conditional updates") }
        if !restrictions.clustering.isEqualOnly {
            throw .invalid("IN on the clustering key columns is not supported with conditional updates")
        }
    }

    // MARK: BATCH

    mutating func batch(_ statement: BatchStatement) throws(ServerError) -> BatchPlan {
        var timestamp: Term?
        if let expression = statement.timestamp {
            timestamp = try term(expression, for: Receiver(keyspace: "", table: "", name: "[timestamp]", type: .bigint))
            if statement.kind == .counter { throw .invalid("Cannot provide custom timestamp for counter BATCH") }
        }
        var plans: [ModificationPlan] = []
        for modification in statement.statements {
            if statement.timestamp != nil, modification.timestamp != nil {
                throw .invalid("Timestamp must be set either on BATCH or individual statements")
            }
            plans.append(try self.modification(modification, inBatch: statement))
        }
        try BatchRules.check(plans, kind: statement.kind, hasTimestamp: timestamp != nil)
        return BatchPlan(kind: statement.kind, timestamp: timestamp, statements: plans)
    }
}

/// What statements may stand together in a batch; for BATCH messages of the native protocol too.
public enum BatchRules {
    /// - Throws: Invalid, saying which rule is broken.
    public static func check(_ statements: [ModificationPlan], kind: BatchPlan.Kind, hasTimestamp: Bool) throws(ServerError) {
        let hasCounters = statements.contains(where: \.isCounter)
        let hasOthers = statements.contains { !$0.isCounter }
        let hasConditions = statements.contains(where: \.isConditional)
        switch kind {
        case .counter:
            if hasOthers { throw .invalid("Cannot include non-counter statement in a counter batch") }
        case .logged:
            if hasCounters { throw .invalid("Cannot include a counter statement in a logged batch") }
        case .unlogged:
            if hasCounters && hasOthers { throw .invalid("Counter and non-counter mutations cannot exist in the same batch") }
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

/// The value of a TTL.
public enum TimeToLive {
    static func check(_ bytes: [UInt8]) throws(ServerError) -> Int {
        let value: Int32? = bytes.withUnsafeBytes { CQLType.integer($0) }
        guard let value else { throw .invalid("Invalid TTL of \(bytes.count) bytes") }
        guard value >= 0 else { throw .invalid("A TTL must be greater or equal to 0, but was \(value)") }
        guard value <= TableOptions.maximumTimeToLive else {
            throw .invalid("ttl is too large. requested (\(value)) maximum (\(TableOptions.maximumTimeToLive))")
        }
        return Int(value)
    }
}

extension ModificationPlan {
    /// Seconds to live of what is written: the statement's, else the table's default; 0 is none. TTL null is 0.
    public func timeToLiveValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int {
        guard let timeToLive else { return table.options.defaultTimeToLive }
        if let index = timeToLive.bindIndex, index < values.count, values.entries[index] == .unset {
            return table.options.defaultTimeToLive
        }
        guard let bytes = try timeToLive.evaluate(values, &context) else { return 0 }
        return bytes.isEmpty ? table.options.defaultTimeToLive : try TimeToLive.check(bytes)
    }

    /// Microseconds given by the statement; nil when the coordinator's clock decides.
    public func timestampValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
        try TimestampTerm.value(timestamp, values, &context)
    }
}

extension BatchPlan {
    /// Microseconds given by the batch; nil when each statement or the coordinator's clock decides.
    public func timestampValue(_ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
        try TimestampTerm.value(timestamp, values, &context)
    }
}

enum TimestampTerm {
    static func value(_ term: Term?, _ values: ValueList, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
        guard let term else { return nil }
        if let index = term.bindIndex, index < values.count, values.entries[index] == .unset { return nil }
        guard let bytes = try term.evaluate(values, &context) else { throw .invalid("Invalid null value of timestamp") }
        let value: Int64? = bytes.withUnsafeBytes { CQLType.integer($0) }
        guard let value else { throw .invalid("Invalid timestamp value: \(bytes.count) bytes") }
        if value == Int64.min { throw .invalid("Out of bound timestamp, must be in [\(Int64.min + 1), \(Int64.max)]") }
        return value
    }
}

extension Condition {
    /// Whether no condition looks at a row: nothing, or static columns.
    var touchesOnlyStatics: Bool {
        switch self {
        case .none: true
        case .ifNotExists, .ifExists: true
        case .columns(let conditions): conditions.allSatisfy { $0.column.isStatic }
        }
    }
}
