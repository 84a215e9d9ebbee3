import CQL
import DataModel
import Primitives

/// Terms, analyzed ahead: the bytes of a bind marker, the most frequent kind, are used where they are.
struct CompiledTerms: Sendable {
    /// A bind marker whose value needs no conversion. Without references, so that reading one retains nothing.
    private struct Marker: Sendable {
        /// -1 when the term is not such a marker.
        var index: Int32 = -1
        var form = Form.anyBytes
    }

    private enum Form: Sendable {
        case fixed(width: Int32)
        case anyBytes
        case text
    }

    private let markers: [Marker]
    private let terms: [Term]

    init(_ terms: [Term]) {
        self.terms = terms
        markers = terms.map { term in
            guard let index = term.bindIndex, let form = CompiledTerms.form(of: term.type) else { return Marker() }
            return Marker(index: Int32(clamping: index), form: form)
        }
    }

    private static func form(of type: CQLType) -> Form? {
        // `timeuuid` needs a version check, and dates and times reject the empty value: these types take the general
        // path.
        switch type {
        case .int, .bigint, .float, .double, .timestamp, .uuid: type.fixedWidth.map { .fixed(width: Int32($0)) }
        case .blob: .anyBytes
        case .text: .text
        default: nil
        }
    }

    var count: Int { markers.count }

    /// Returns the bytes of the term with that index, if it is a marker with a valid value; nil: call `write`.
    @inline(__always) func marked(_ index: Int, _ values: ValueList.View) -> UnsafeRawBufferPointer? {
        let marker = markers[index]
        guard marker.index >= 0, let bytes = values.bytes(of: Int(marker.index)) else { return nil }
        switch marker.form {
        case .fixed(let width): return bytes.count == width ? bytes : nil
        case .anyBytes: return bytes
        case .text: return CQLType.isUTF8(bytes) ? bytes : nil
        }
    }

    /// Appends the value of the term with that index to `out`.
    @inline(never) func write(
        _ index: Int, _ values: ValueList, _ context: inout EvaluationContext, to out: inout ByteWriter
    ) throws(ServerError) -> ValuePresence {
        try terms[index].write(values, &context, to: &out)
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
        try values.withView { (view) throws(ServerError) in
            for index in 0..<partition.count {
                if let bytes = partition.marked(index, view), bytes.count > 0, bytes.count <= 65_535 {
                    KeyEncoding.addPartitionComponent(bytes, isOnly: isOnly, into: &key)
                    continue
                }
                value.removeAll()
                let presence = try partition.write(index, values, &context, to: &value)
                if presence != .value || value.count == 0 || value.count > 65_535 {
                    try PartitionKeys.check(presence, value.count, table.partitionKey[index].name, isOnly: isOnly)
                }
                KeyEncoding.addPartitionComponent(value.bytes, isOnly: isOnly, into: &key)
            }
        }
        do throws(KeyError) { try KeyEncoding.endPartition(of: &key) } catch { throw ServerError(error) }
    }

    /// Appends the kind and the clustering components to `key`, which holds the partition.
    @inline(__always) func appendClustering(
        _ values: ValueList, _ context: inout EvaluationContext, value: inout ByteWriter, key: inout ByteWriter
    ) throws(ServerError) {
        KeyEncoding.beginRow(into: &key)
        if clustering.count == 0 { return }
        var total = 0
        try values.withView { (view) throws(ServerError) in
            for index in 0..<clustering.count {
                if let bytes = clustering.marked(index, view) {
                    total += bytes.count
                    try appendComponent(index, bytes, &key)
                    continue
                }
                value.removeAll()
                let presence = try clustering.write(index, values, &context, to: &value)
                if presence != .value { try ClusteringKeys.check(presence, table.clustering[index].name) }
                total += value.count
                try appendComponent(index, value.bytes, &key)
            }
        }
        if total > 65_535 { try ClusteringKeys.checkTotal(total) }
    }

    @inline(__always) private func appendComponent(
        _ index: Int, _ bytes: UnsafeRawBufferPointer, _ key: inout ByteWriter
    ) throws(ServerError) {
        do throws(KeyError) {
            try KeyEncoding.addClusteringComponent(
                bytes, type: parts[index].type, descending: parts[index].isDescending, into: &key)
        } catch { throw ServerError(error) }
    }
}
