import DataModel
import Primitives

/// Splits whole encoded mutations by partition, because each partition has its own replicas.
enum PartitionedMutations {
    struct Part {
        var table: UUID
        var token: Int64
        /// Whole encoded mutations.
        var mutations: [UInt8]
    }

    /// Returns one part per table and partition, in order of first appearance.
    static func split(_ mutations: [UInt8]) throws(ByteError) -> [Part] {
        if let one = try onlyPart(of: mutations) { return [one] }
        return try mutations.withUnsafeBytesTyped { (bytes) throws(ByteError) in try split(bytes) }
    }

    /// Returns all mutations as one part if they belong to one partition, the usual case; else nil.
    static func onlyPart(of mutations: [UInt8]) throws(ByteError) -> Part? {
        let one = try mutations.withUnsafeBytesTyped { (bytes) throws(ByteError) in try single(bytes) }
        return one.map { Part(table: $0.table, token: $0.token, mutations: mutations) }
    }

    /// Returns table and token if all mutations belong to one partition, the usual case; else nil.
    private static func single(_ mutations: UnsafeRawBufferPointer) throws(ByteError) -> (table: UUID, token: Int64)? {
        var reader = MutationReader(mutations)
        var table: UUID?
        var partition = UnsafeRawBufferPointer(start: nil, count: 0)
        while try reader.nextTable() {
            if table != nil { return nil }
            table = reader.table
            while let operation = try reader.nextOperation() {
                let own = KeyView(operation.key).partition
                if partition.isEmpty { partition = own } else if compareBytes(partition, own) != 0 { return nil }
            }
        }
        guard let table, !partition.isEmpty else { return nil }
        return (table, KeyView(partition).token)
    }

    private static func split(_ mutations: UnsafeRawBufferPointer) throws(ByteError) -> [Part] {
        var parts: [Part] = []
        var writers: [MutationWriterReference] = []
        var places: [[UInt8]: Int] = [:]
        var reader = MutationReader(mutations)
        while try reader.nextTable() {
            while let operation = try reader.nextOperation() {
                let view = KeyView(operation.key)
                let name = reader.table.bytes + [UInt8](view.partition)
                let index: Int
                if let known = places[name] {
                    index = known
                } else {
                    index = parts.count
                    places[name] = index
                    parts.append(Part(table: reader.table, token: view.token, mutations: []))
                    writers.append(MutationWriterReference())
                    writers[index].writer.beginTable(reader.table)
                }
                switch operation {
                case .row(let key, let row): writers[index].writer.row(key: key, encoded: row)
                case .deleteRange(let start, let end, let deletion):
                    writers[index].writer.deleteRange(start: start, end: end, deletion: deletion)
                }
            }
        }
        for index in parts.indices {
            writers[index].writer.endTable()
            parts[index].mutations = writers[index].writer.out.toArray()
        }
        return parts
    }
}

extension ClusterView {
    /// Whether a node is a write replica of all these mutations. Ignores dropped tables. Returns true for bytes that do
    /// not parse: applying them reports the error.
    public func isReplica(_ node: UUID, ofAll mutations: [UInt8]) -> Bool {
        guard let place = ring.nodes.firstIndex(where: { $0.id == node }) else { return false }
        let parts: [PartitionedMutations.Part]
        do throws(ByteError) {
            parts = try PartitionedMutations.split(mutations)
        } catch { return true }
        return parts.allSatisfy { part in
            guard let placement = placement(of: part.table) else { return true }
            return placement.table.writeReplicas(for: part.token).contains { Int($0) == place }
        }
    }
}
