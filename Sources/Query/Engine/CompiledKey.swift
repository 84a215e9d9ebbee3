import CQL
import DataModel
import Primitives

/// Terms, analyzed ahead: the value of a fixed-width bind marker, the most frequent kind, is only copied.
struct CompiledTerms: Sendable {
    /// The index of a fixed-width bind marker and its width. Without references, so that reading one retains nothing.
    private struct Marker: Sendable {
        /// -1 when the term is not a fixed-width marker.
        var index: Int32 = -1
        var width: Int32 = 0
    }

    private let markers: [Marker]
    private let terms: [Term]

    init(_ terms: [Term]) {
        self.terms = terms
        markers = terms.map { term in
            // `timeuuid` needs a version check, and dates and times reject the empty value: these types take the
            // general path.
            switch term.type {
            case .int, .bigint, .float, .double, .timestamp, .uuid:
                guard let index = term.bindIndex, let width = term.type.fixedWidth else { return Marker() }
                return Marker(index: Int32(clamping: index), width: Int32(width))
            default: return Marker()
            }
        }
    }

    var count: Int { markers.count }

    /// Appends the value of the term with that index to `out`.
    @inline(__always) func write(
        _ index: Int, _ values: ValueList, _ context: inout EvaluationContext, to out: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        let marker = markers[index]
        if marker.index >= 0, marker.index < values.count, case .value(let range) = values.entries[Int(marker.index)],
            range.count == marker.width
        {
            values.bytes.withUnsafeBytes { out.write(UnsafeRawBufferPointer(rebasing: $0[range])) }
            return .value
        }
        return try terms[index].write(values, &context, to: &out)
    }
}

/// The key of the one row, or of the one partition, that a statement names.
final class CompiledKey: Sendable {
    private struct Part: Sendable {
        let type: CQLType
        let isDescending: Bool
    }

    private let partition: CompiledTerms
    private let clustering: CompiledTerms
    private let parts: [Part]
    /// For error messages.
    private let table: TableMetadata

    /// Returns nil when the restrictions can name more than one row or partition.
    init?(_ table: TableMetadata, partition: [KeyRestriction], clustering: ClusteringSelection) {
        var values: [Term] = []
        for restriction in partition {
            guard case .equal(let term) = restriction else { return nil }
            values.append(term)
        }
        var bounds: [Term] = []
        for part in clustering.parts {
            guard case .equal(let term) = part else { return nil }
            bounds.append(term)
        }
        self.partition = CompiledTerms(values)
        self.clustering = CompiledTerms(bounds)
        parts = bounds.indices.map {
            Part(type: table.clustering[$0].type, isDescending: table.clustering[$0].isDescending)
        }
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
            let presence = try partition.write(index, values, &context, to: &value)
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
            let presence = try clustering.write(index, values, &context, to: &value)
            if presence != .value { try ClusteringKeys.check(presence, table.clustering[index].name) }
            total += value.count
            do throws(KeyError) {
                try KeyEncoding.addClusteringComponent(
                    value.bytes, type: parts[index].type, descending: parts[index].isDescending, into: &key)
            } catch { throw ServerError(error) }
        }
        if total > 65_535 { try ClusteringKeys.checkTotal(total) }
    }
}
