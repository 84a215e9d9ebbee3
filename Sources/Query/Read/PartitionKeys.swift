import CQL
import DataModel
import Primitives

/// Builds the partition keys that a statement's restrictions name.
enum PartitionKeys {
    /// All partitions in the product of the restrictions, ordered by value, without duplicates.
    static func all(
        _ restrictions: [KeyRestriction], table: TableMetadata, values: ValueList, context: inout EvaluationContext,
        limits: QueryLimits
    ) throws(ServerError) -> [[UInt8]] {
        var products: [[[UInt8]]] = [[]]
        for (index, restriction) in restrictions.enumerated() {
            let column = table.partitionKey[index]
            var choices: [[UInt8]] = []
            switch restriction {
            case .equal(let term):
                let (presence, bytes) = try term.array(values, &context)
                try check(presence, bytes.count, column.name, isOnly: restrictions.count == 1)
                choices = [bytes]
            case .oneOf(let list):
                for bytes in try list.arrays(values, &context, column: column.name) {
                    try check(.value, bytes.count, column.name, isOnly: restrictions.count == 1)
                    choices.append(bytes)
                }
                choices.sort { column.type.compare($0, $1) < 0 }
                var distinct: [[UInt8]] = []
                for choice in choices where distinct.last != choice { distinct.append(choice) }
                choices = distinct
            }
            try limits.checkProduct(products.count, choices.count, of: "partitions")
            products = products.flatMap { head in choices.map { head + [$0] } }
        }
        var partitions: [[UInt8]] = []
        var key = ByteWriter(capacity: 64)
        for components in products {
            KeyEncoding.beginPartition(into: &key)
            for component in components {
                component.withUnsafeBytes {
                    KeyEncoding.addPartitionComponent($0, isOnly: components.count == 1, into: &key)
                }
            }
            do throws(KeyError) { try KeyEncoding.endPartition(of: &key) } catch { throw ServerError(error) }
            partitions.append(key.toArray())
        }
        return partitions
    }

    /// - Throws: when a component of a partition key is null, unset, empty or too long.
    static func check(
        _ presence: ValuePresence, _ count: Int, _ column: String, isOnly: Bool
    ) throws(ServerError) {
        try ClusteringKeys.check(presence, column)
        if count > 65_535 { throw .invalid("Key length of \(count) is longer than maximum of 65535") }
        if isOnly && count == 0 { throw .invalid("Key may not be empty") }
    }
}
