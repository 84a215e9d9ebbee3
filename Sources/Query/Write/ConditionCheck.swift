import CQL
import DataModel
import Primitives

/// Evaluates the IF of a lightweight transaction on a row.
struct ConditionCheck {
    let table: TableMetadata
    /// Fetches all columns of the table, in order.
    let layout: SlotLayout

    init(table: TableMetadata) {
        self.table = table
        layout = SlotLayout(table: table, columns: table.columns)
    }

    /// - Parameters:
    ///   - exists: whether the row (or the static row, if the statement writes that) exists.
    ///   - cells: the values of all columns of the table, in order.
    func holds(
        _ condition: Condition, exists: Bool, _ cells: [[UInt8]?], _ values: ValueList,
        _ context: inout EvaluationContext
    ) throws(ServerError) -> Bool {
        switch condition {
        case .none: return true
        case .ifNotExists: return !exists
        case .ifExists: return exists
        case .columns(let conditions):
            for condition in conditions where try !holds(condition, cells, values, &context) { return false }
            return true
        }
    }

    private func holds(
        _ condition: ColumnCondition, _ cells: [[UInt8]?], _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> Bool {
        guard let index = table.columnIndex(named: condition.column.name) else { return false }
        var held = cells[index]
        var type = condition.column.type
        if case .element(let key) = condition.access {
            let (presence, bytes) = try key.array(values, &context)
            guard presence == .value else {
                throw .invalid(
                    "Invalid \(presence == .null ? "null" : "unset") value for the element of \(condition.column.name)")
            }
            switch type.unfrozen {
            case .map(_, let value):
                held = try held.flatMap { (map) throws(ServerError) in
                    try CollectionAccess.element(of: map, key: bytes, type: type)
                }
                type = value
            case .list(let element):
                guard bytes.count == 4, bytes[0] < 0x80 else { throw .invalid("Invalid negative list index") }
                held = try held.flatMap { (list) throws(ServerError) in
                    try CollectionAccess.element(of: list, key: bytes, type: type)
                }
                type = element
            default: throw .invalid("\(condition.column.name) of type \(type) has no elements")
            }
        }
        switch condition.demand {
        case .compare(let comparison, let term): return try compare(held, comparison, term, type, values, &context)
        case .oneOf(.terms(let terms)):
            for term in terms where try compare(held, .equal, term, type, values, &context) { return true }
            return false
        case .oneOf(let list):
            return try list.arrays(values, &context, column: condition.column.name).contains {
                type.compare($0, held ?? []) == 0 && held != nil
            }
        }
    }

    private func compare(
        _ held: [UInt8]?, _ comparison: ComparisonOperator, _ term: Term, _ type: CQLType, _ values: ValueList,
        _ context: inout EvaluationContext
    ) throws(ServerError) -> Bool {
        let (presence, bytes) = try term.array(values, &context)
        if presence == .unset { throw .invalid("Invalid 'unset' value in condition") }
        // A multi-cell collection has no empty value: empty means null.
        let isNull = presence == .null || (type.isMultiCell && bytes.allSatisfy { $0 == 0 })
        if isNull {
            switch comparison {
            case .equal: return held == nil
            case .notEqual: return held != nil
            default: throw .invalid("Invalid comparison with null for operator \"\(comparison.rawValue)\"")
            }
        }
        guard let held else { return comparison == .notEqual }
        return comparison.holds(type.compare(held, bytes))
    }

    /// The columns shown when the condition fails: those of the conditions, in order; nil for all.
    static func shownColumns(_ condition: Condition) -> [ColumnMetadata]? {
        guard case .columns(let conditions) = condition else { return nil }
        var columns: [ColumnMetadata] = []
        for condition in conditions where !columns.contains(where: { $0.name == condition.column.name }) {
            columns.append(condition.column)
        }
        return columns
    }
}
