import CQL
import DataModel
import Primitives

/// Builds the clustering keys and key ranges that a statement names: the part of an engine key after the partition.
enum ClusteringKeys {
    /// All key prefixes after the partition that the restrictions allow, in stored order, without duplicates.
    static func prefixes(
        _ selection: ClusteringSelection, table: TableMetadata, values: ValueList, context: inout EvaluationContext,
        limits: QueryLimits
    ) throws(ServerError) -> [[UInt8]] {
        var products: [[UInt8]] = [[KeyView.rowKind]]
        var position = 0
        for part in selection.parts {
            var choices: [[UInt8]] = []
            let column = table.clustering[position]
            switch part {
            case .equal(let term):
                let (presence, bytes) = try term.array(values, &context)
                try check(presence, column.name)
                choices = [try encode([bytes], from: position, table)]
            case .oneOf(let list):
                for bytes in try list.arrays(values, &context, column: column.name) {
                    choices.append(try encode([bytes], from: position, table))
                }
            case .oneOfTuples(let count, let list):
                for bytes in try list.arrays(values, &context, column: column.name) {
                    choices.append(
                        try encode(
                            try fields(of: bytes, count: count, table: table, from: position), from: position, table))
                }
            }
            position += part.columnCount
            try limits.checkProduct(products.count, choices.count)
            products = products.flatMap { head in choices.map { head + $0 } }
        }
        products.sort { compareBytes($0, $1) < 0 }
        var distinct: [[UInt8]] = []
        for product in products where distinct.last != product { distinct.append(product) }
        return distinct
    }

    /// The key ranges after the partition, in stored order.
    static func ranges(
        _ selection: ClusteringSelection, table: TableMetadata, values: ValueList, context: inout EvaluationContext,
        limits: QueryLimits
    ) throws(ServerError) -> [KeyRange] {
        let prefixes = try prefixes(selection, table: table, values: values, context: &context, limits: limits)
        guard selection.hasSlice else { return prefixes.map { KeyRange.prefix($0) } }
        let position = selection.prefixCount
        var start: (suffix: [UInt8], after: Bool)?
        var end: (suffix: [UInt8], after: Bool)?
        // A descending column stores its greatest value first, so its bounds swap sides.
        let descending = table.clustering[position].isDescending
        if let lower = selection.lower {
            let suffix = try bound(lower, from: position, table: table, values: values, context: &context)
            if descending { end = (suffix, lower.isInclusive) } else { start = (suffix, !lower.isInclusive) }
        }
        if let upper = selection.upper {
            let suffix = try bound(upper, from: position, table: table, values: values, context: &context)
            if descending { start = (suffix, !upper.isInclusive) } else { end = (suffix, upper.isInclusive) }
        }
        var ranges: [KeyRange] = []
        for prefix in prefixes {
            var range = KeyRange.prefix(prefix)
            if let start { range.start = prefix + start.suffix + (start.after ? [0xff] : []) }
            if let end { range.end = prefix + end.suffix + (end.after ? [0xff] : []) }
            if !range.isEmpty { ranges.append(range) }
        }
        return ranges
    }

    private static func bound(
        _ bound: ClusteringBound, from position: Int, table: TableMetadata, values: ValueList,
        context: inout EvaluationContext
    ) throws(ServerError) -> [UInt8] {
        var parts: [[UInt8]] = []
        for (index, term) in bound.terms.enumerated() {
            let (presence, bytes) = try term.array(values, &context)
            try check(presence, table.clustering[position + index].name)
            parts.append(bytes)
        }
        return try encode(parts, from: position, table)
    }

    private static func encode(_ values: [[UInt8]], from position: Int, _ table: TableMetadata) throws(ServerError)
        -> [UInt8]
    {
        var key = ByteWriter(capacity: 64)
        try checkTotal(values.reduce(0) { $0 + $1.count })
        for (index, value) in values.enumerated() {
            let column = table.clustering[position + index]
            do throws(KeyError) {
                try value.withUnsafeBytesTyped { (raw) throws(KeyError) in
                    try KeyEncoding.addClusteringComponent(
                        raw, type: column.type, descending: column.isDescending, into: &key)
                }
            } catch { throw ServerError(error) }
        }
        return key.toArray()
    }

    private static func fields(of tuple: [UInt8], count: Int, table: TableMetadata, from position: Int)
        throws(ServerError) -> [[UInt8]]
    {
        var result: [[UInt8]] = []
        do throws(ValueError) {
            try tuple.withUnsafeBytesTyped { (raw) throws(ValueError) in
                var reader = TupleReader(raw)
                for index in 0..<count {
                    guard let field = try reader.next(), let field else {
                        throw .invalid(
                            "Invalid null value in condition for column \(table.clustering[position + index].name)")
                    }
                    try table.clustering[position + index].type.validate(field)
                    result.append([UInt8](field))
                }
            }
        } catch { throw error.serverError }
        return result
    }

    /// - Throws: when a component of a clustering key is null or unset.
    static func check(_ presence: ValuePresence, _ column: String) throws(ServerError) {
        switch presence {
        case .value: return
        case .null: throw .invalid("Invalid null value in condition for column \(column)")
        case .unset: throw .invalid("Invalid unset value for column \(column)")
        }
    }

    /// - Throws: when the components together are longer than 65,535 bytes.
    static func checkTotal(_ total: Int) throws(ServerError) {
        if total > 65_535 {
            throw .invalid("The sum of all clustering columns is too long (\(total) > 65535)")
        }
    }
}
