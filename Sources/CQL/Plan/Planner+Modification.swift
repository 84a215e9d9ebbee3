import DataModel

extension Planner {
    /// - Parameter inBatch: the batch that contains the statement; if it has a timestamp, the statement must not have
    ///   one.
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
            if column.isPrimaryKey {
                keys[name] = term
            } else {
                operations.append(ColumnOperation(column: column, action: .set(term)))
            }
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
                    let term = try JSONInsert.bytes(value, column: column.name, column.type).map {
                        Term.constant($0, column.type)
                    }
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
                    document: document, name: column.name, absentIsUnset: json.absentIsUnset && !column.isPrimaryKey,
                    table: table)
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
        _ statement: ModificationStatement, _ keys: [String: Term], _ operations: [ColumnOperation],
        _ table: TableMetadata
    ) throws(ServerError) -> ModificationPlan {
        var partition: [KeyRestriction] = []
        var missing: [String] = []
        for column in table.partitionKey {
            if let term = keys[column.name] { partition.append(.equal(term)) } else { missing.append(column.name) }
        }
        guard missing.isEmpty else {
            throw .invalid("Some partition key parts are missing: \(missing.joined(separator: ", "))")
        }
        var clustering = ClusteringSelection()
        for column in table.clustering {
            if let term = keys[column.name] {
                clustering.parts.append(.equal(term))
            } else {
                missing.append(column.name)
            }
        }
        // Without clustering columns, only static columns are written.
        let writesOnlyStatics =
            clustering.parts.isEmpty && !operations.isEmpty && operations.allSatisfy { $0.column.isStatic }
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
            statement.relations, table, verb: "UPDATE", affectsOnlyStatics: onlyStatics && !table.clustering.isEmpty,
            allowsSlices: false)
        try checkConditional(statement, condition, table, restrictions)
        return ModificationPlan(
            kind: .update, table: table, partition: restrictions.keys, clustering: restrictions.clustering,
            operations: operations,
            timestamp: attributes.timestamp, timeToLive: attributes.timeToLive, condition: condition)
    }

    private func refuseConflicts(_ operations: [ColumnOperation]) throws(ServerError) {
        var byColumn: [String: Int] = [:]
        for operation in operations {
            byColumn[operation.column.name, default: 0] += 1
            guard byColumn[operation.column.name, default: 0] > 1 else { continue }
            // Only several elements of one collection may be set; any other repeated assignment is ambiguous.
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
            !operations.isEmpty && operations.allSatisfy { $0.column.isStatic } && condition.touchesOnlyStatics
            && !table.clustering.isEmpty
        let restrictions = try modificationRestrictions(
            statement.relations, table, verb: "DELETE", affectsOnlyStatics: onlyStatics, allowsSlices: true)
        let coversRow =
            restrictions.clustering.prefixCount == table.clustering.count && !restrictions.clustering.hasSlice
        if operations.contains(where: { !$0.column.isStatic }), !coversRow {
            if restrictions.clustering.hasSlice {
                throw .invalid("Range deletions are not supported for specific columns")
            }
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
            kind: .delete, table: table, partition: restrictions.keys, clustering: restrictions.clustering,
            operations: operations,
            timestamp: attributes.timestamp, timeToLive: nil, condition: condition)
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
