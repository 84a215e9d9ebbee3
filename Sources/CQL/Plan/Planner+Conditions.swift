import DataModel

extension Planner {
    /// Resolves an IF clause.
    mutating func condition(
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

    private mutating func columnCondition(_ clause: ConditionClause, _ table: TableMetadata) throws(ServerError)
        -> ColumnCondition
    {
        let column = try Self.column(clause.column, in: table)
        if column.isPrimaryKey { throw .invalid("PRIMARY KEY column '\(column.name)' cannot have IF conditions") }
        if let field = clause.field {
            throw .invalid(
                "Cannot use field \(field) of column \(column.name): it is of type \(column.type), not a user-defined type"
            )
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
            return ColumnCondition(
                column: column, access: access, demand: .compare(comparison, try term(value, for: receiver)))
        }
        switch clause.values {
        case .list(let expressions)?:
            var terms: [Term] = []
            for expression in expressions { terms.append(try term(expression, for: receiver)) }
            return ColumnCondition(column: column, access: access, demand: .oneOf(.terms(terms)))
        case .marker(let expression)?:
            let list = receiver.with(name: "in(\(receiver.name))", type: .list(receiver.type.asFrozen))
            return ColumnCondition(
                column: column, access: access, demand: .oneOf(.bound(try term(expression, for: list))))
        case nil: throw .invalid("Condition on \(column.name) has no value")
        }
    }

    func checkConditional(
        _ statement: ModificationStatement, _ condition: Condition, _ table: TableMetadata,
        _ restrictions: Restrictions? = nil
    ) throws(ServerError) {
        if case .none = condition { return }
        if table.isCounter { throw .invalid("Conditional updates are not supported on counter tables") }
        if statement.timestamp != nil { throw .invalid("Cannot provide custom timestamp for conditional updates") }
        guard let restrictions else { return }
        if restrictions.hasPartitionIN {
            throw .invalid("IN on the partition key is not supported with conditional updates")
        }
        if !restrictions.clustering.isEqualOnly {
            throw .invalid("IN on the clustering key columns is not supported with conditional updates")
        }
    }
}

extension Condition {
    /// Whether the condition refers to no column or only to static columns.
    var touchesOnlyStatics: Bool {
        switch self {
        case .none: true
        case .ifNotExists, .ifExists: true
        case .columns(let conditions): conditions.allSatisfy { $0.column.isStatic }
        }
    }
}
