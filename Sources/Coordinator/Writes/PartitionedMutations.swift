import DataModel
import Primitives

/// Whole encoded mutations taken apart by partition: each has replicas of its own.
enum PartitionedMutations {
    struct Part {
        var table: UUID
        var token: Int64
        /// Whole encoded mutations.
        var mutations: [UInt8]
    }

    /// One part for each table and partition, in the order in which they first appear.
    static func split(_ mutations: [UInt8]) throws(ByteError) -> [Part] {
        try mutations.withUnsafeBytesTyped { (bytes) throws(ByteError) in
            if let one = try single(bytes) { return [Part(table: one.table, token: one.token, mutations: mutations)] }
            return try split(bytes)
        }
    }

    /// The table and the token of mutations that are all of one partition, which is the rule; nil for others.
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
        var writers: [MutationBox] = []
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
                    writers.append(MutationBox())
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
    /// Whether a node gets writes of all these mutations; tables that are gone are left out, and what does not parse is for whoever applies it to refuse.
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
