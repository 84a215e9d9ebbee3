import CQL
import DataModel
import Primitives

/// The filters of one execution, with evaluated terms.
struct FilterSet {
    private enum Demand {
        case compare(ComparisonOperator, [UInt8])
        case oneOf([[UInt8]])
        case contains([UInt8])
        case containsKey([UInt8])
        case entry(key: [UInt8], ComparisonOperator, value: [UInt8])
    }

    private struct Filter {
        var slots: [Int]
        var types: [CQLType]
        var demand: Demand
    }

    private var filters: [Filter] = []

    var isEmpty: Bool { filters.isEmpty }

    mutating func prepare(_ select: CompiledSelect, _ values: ValueList, _ context: inout EvaluationContext)
        throws(ServerError)
    {
        filters.removeAll(keepingCapacity: true)
        for (index, filter) in select.plan.filters.enumerated() {
            let name = filter.columns.map(\.name).joined(separator: ", ")
            let demand: Demand
            switch filter.demand {
            case .compare(let comparison, let term):
                demand = .compare(comparison, try value(term, name, values, &context))
            case .oneOf(let list): demand = .oneOf(try list.arrays(values, &context, column: name))
            case .contains(let term): demand = .contains(try value(term, name, values, &context))
            case .containsKey(let term): demand = .containsKey(try value(term, name, values, &context))
            case .entry(let key, let comparison, let held):
                demand = .entry(
                    key: try value(key, name, values, &context), comparison,
                    value: try value(held, name, values, &context))
            }
            filters.append(Filter(slots: select.filterSlots[index], types: filter.columns.map(\.type), demand: demand))
        }
    }

    mutating func removeAll() { filters.removeAll(keepingCapacity: true) }

    private func value(
        _ term: Term, _ column: String, _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> [UInt8] {
        let (presence, bytes) = try term.array(values, &context)
        switch presence {
        case .value: return bytes
        case .null: throw .invalid("Unsupported null value for column \(column)")
        case .unset: throw .invalid("Unsupported unset value for column \(column)")
        }
    }

    /// Whether the row in `slots` passes all filters. A null passes none.
    func pass(_ slots: borrowing RowDecoder) throws(ServerError) -> Bool {
        for filter in filters {
            if filter.slots.count > 1 {
                guard try passesTuple(filter, slots) else { return false }
                continue
            }
            guard let value = slots.value(filter.slots[0]) else { return false }
            guard try FilterSet.holds(filter.demand, value, filter.types[0]) else { return false }
        }
        return true
    }

    private static func holds(_ demand: Demand, _ value: UnsafeRawBufferPointer, _ type: CQLType) throws(ServerError)
        -> Bool
    {
        func order(_ other: [UInt8], _ of: CQLType, _ left: UnsafeRawBufferPointer) -> Int {
            other.withUnsafeBytes { of.compare(left, $0) }
        }
        switch demand {
        case .compare(let comparison, let other): return comparison.holds(order(other, type, value))
        case .oneOf(let others): return others.contains { order($0, type, value) == 0 }
        case .contains(let element):
            switch type.unfrozen {
            case .list(let inner), .set(let inner):
                return try any(value, every: 1, offset: 0) { order(element, inner, $0) == 0 }
            case .map(_, let held): return try any(value, every: 2, offset: 1) { order(element, held, $0) == 0 }
            default: return false
            }
        case .containsKey(let key):
            guard case .map(let inner, _) = type.unfrozen else { return false }
            return try any(value, every: 2, offset: 0) { order(key, inner, $0) == 0 }
        case .entry(let key, let comparison, let held):
            guard case .map(let keyType, let valueType) = type.unfrozen else { return false }
            var isNext = false
            var position = 0
            return try any(value, every: 1, offset: 0, valuesPerElement: 2) { part in
                defer { position += 1 }
                if position % 2 == 0 {
                    isNext = order(key, keyType, part) == 0
                    return false
                }
                return isNext && comparison.holds(order(held, valueType, part))
            }
        }
    }

    /// Whether any of a collection's values at `offset`, `offset + every`, ... matches the predicate.
    private static func any(
        _ collection: UnsafeRawBufferPointer, every: Int, offset: Int, valuesPerElement: Int? = nil,
        _ predicate: (UnsafeRawBufferPointer) -> Bool
    ) throws(ServerError) -> Bool {
        do throws(ValueError) {
            var reader = try CollectionReader(
                collection, name: "collection", valuesPerElement: valuesPerElement ?? every)
            var index = 0
            while let part = try reader.next() {
                if index % every == offset, predicate(part) { return true }
                index += 1
            }
            return false
        } catch { throw error.serverError }
    }

    /// Compares several columns with a tuple; the first difference decides.
    private func passesTuple(_ filter: Filter, _ slots: borrowing RowDecoder) throws(ServerError) -> Bool {
        func order(_ tuple: [UInt8]) throws(ServerError) -> Int? {
            do throws(ValueError) {
                return try tuple.withUnsafeBytesTyped { (raw) throws(ValueError) -> Int? in
                    var reader = TupleReader(raw)
                    for (index, slot) in filter.slots.enumerated() {
                        guard let value = slots.value(slot), let field = try reader.next(), let field else {
                            return nil
                        }
                        let order = filter.types[index].compare(value, field)
                        if order != 0 { return order }
                    }
                    return 0
                }
            } catch { throw error.serverError }
        }
        switch filter.demand {
        case .compare(let comparison, let tuple): return try order(tuple).map { comparison.holds($0) } ?? false
        case .oneOf(let tuples):
            for tuple in tuples where try order(tuple) == 0 { return true }
            return false
        default: return false
        }
    }
}
