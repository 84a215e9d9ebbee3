import CQL
import DataModel
import Primitives

/// A term, analyzed ahead: the value of a fixed-width bind marker, the most frequent kind, is only copied.
struct CompiledTerm: Sendable {
    /// The marker's index; -1 when the term is not a fixed-width marker.
    private let bindIndex: Int
    private let width: Int
    let term: Term

    init(_ term: Term) {
        self.term = term
        // `timeuuid` needs a version check, and dates and times reject the empty value: these types take the general
        // path.
        switch term.type {
        case .int, .bigint, .float, .double, .timestamp, .uuid:
            bindIndex = term.bindIndex ?? -1
            width = term.type.fixedWidth ?? 0
        default:
            bindIndex = -1
            width = 0
        }
    }

    /// Appends the value to `out`.
    @inline(__always) func write(
        _ values: ValueList, _ context: inout EvaluationContext, to out: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        if bindIndex >= 0, bindIndex < values.count, case .value(let range) = values.entries[bindIndex],
            range.count == width
        {
            values.bytes.withUnsafeBytes { out.write(UnsafeRawBufferPointer(rebasing: $0[range])) }
            return .value
        }
        return try term.write(values, &context, to: &out)
    }
}

/// The key of the one row, or of the one partition, that a statement names.
struct CompiledKey: Sendable {
    struct Part: Sendable {
        let value: CompiledTerm
        let type: CQLType
        let isDescending: Bool
    }

    let partition: [CompiledTerm]
    let clustering: [Part]
    /// For error messages.
    private let table: TableMetadata

    /// Returns nil when the restrictions can name more than one row or partition.
    init?(_ table: TableMetadata, partition: [KeyRestriction], clustering: ClusteringSelection) {
        var values: [CompiledTerm] = []
        for restriction in partition {
            guard case .equal(let term) = restriction else { return nil }
            values.append(CompiledTerm(term))
        }
        var parts: [Part] = []
        for (index, part) in clustering.parts.enumerated() {
            guard case .equal(let term) = part else { return nil }
            parts.append(
                Part(
                    value: CompiledTerm(term), type: table.clustering[index].type,
                    isDescending: table.clustering[index].isDescending))
        }
        self.partition = values
        self.clustering = parts
        self.table = table
    }

    /// Writes the partition key into `key`, replacing its contents.
    @inline(__always) func writePartition(
        _ values: ValueList, _ context: inout EvaluationContext, value: inout ByteWriter, key: inout ByteWriter
    ) throws(ServerError) {
        KeyEncoding.beginPartition(into: &key)
        let isOnly = partition.count == 1
        for index in 0..<partition.count {
            value.removeAll()
            let presence = try partition[index].write(values, &context, to: &value)
            if presence != .value || value.count == 0 || value.count > 65_535 {
                try PartitionKeys.check(presence, value.count, table.partitionKey[index].name, isOnly: isOnly)
            }
            KeyEncoding.addPartitionComponent(value.bytes, isOnly: isOnly, into: &key)
        }
        do throws(KeyError) { try KeyEncoding.endPartition(of: &key) } catch { throw ServerError(error) }
    }

    /// Appends the kind and the clustering components to `key`, which holds the partition.
    @inline(__always) func appendClustering(
        _ values: ValueList, _ context: inout EvaluationContext, value: inout ByteWriter, key: inout ByteWriter
    ) throws(ServerError) {
        KeyEncoding.beginRow(into: &key)
        var total = 0
        for index in 0..<clustering.count {
            value.removeAll()
            let presence = try clustering[index].value.write(values, &context, to: &value)
            if presence != .value { try ClusteringKeys.check(presence, table.clustering[index].name) }
            total += value.count
            do throws(KeyError) {
                try KeyEncoding.addClusteringComponent(
                    value.bytes, type: clustering[index].type, descending: clustering[index].isDescending, into: &key)
            } catch { throw ServerError(error) }
        }
        if total > 65_535 { try ClusteringKeys.checkTotal(total) }
    }
}
