import DataModel
import Messages
import Primitives
import Storage
import Synchronization

/// Reads and writes the storage of this node.
///
/// **Thread safety**: all methods, from any thread. They wait for disks and partition locks on the calling fiber, or
/// block the thread when there is none.
public final class LocalReplica: Sendable {
    let engine: StorageEngine
    private let node: UUID
    private let locks: PartitionLocks

    /// - Parameter node: the host id that names this node's counter shards.
    public init(engine: StorageEngine, node: UUID) {
        self.engine = engine
        self.node = node
        locks = PartitionLocks(background: engine.background)
    }

    /// Whether this node has the table.
    public func hasTable(_ id: UUID) -> Bool { engine.table(id) != nil }

    static func convert(_ error: StorageError) -> ReplicaError {
        switch error {
        case .unknownTable(let id): .unknownTable(id)
        case .overloaded(let why): .overloaded(why)
        default: .storage(error.description)
        }
    }

    public func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError) {
        try apply(mutations)
    }

    func apply(_ mutations: borrowing MutationWriter) throws(ReplicaError) {
        do { try engine.apply(mutations.out.bytes) } catch { throw LocalReplica.convert(error) }
    }

    public func withTransaction(
        table: UUID, partition: [UInt8], reading key: [UInt8]?, _ body: () -> Bool
    ) throws(ReplicaError) {
        try withPartitionLock(table: table, partition: partition) { () throws(ReplicaError) in
            // Memtables may hold a write that the log has refused and a restart loses: no decision may rest on it.
            if !PlantedBugs.isOn(.refusedWriteDecides) {
                do throws(StorageError) { try engine.log?.checkWritable() } catch { throw LocalReplica.convert(error) }
            }
            _ = body()
        }
    }

    /// Runs `body` while holding the partition's lock.
    func withPartitionLock<R>(table: UUID, partition: [UInt8], _ body: () throws(ReplicaError) -> R)
        throws(ReplicaError) -> R
    {
        try partition.withUnsafeBytesTyped { (bytes) throws(ReplicaError) in
            try locks.withLock(table: table, partition: bytes, body)
        }
    }

    public func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError) {
        var none: [UInt8] = []
        try count(deltas.out.bytes, written: &none)
    }

    /// Applies counter deltas, like `applyCounters`.
    /// - Parameter written: receives the mutations with the new shards, for the other replicas.
    func count(_ deltas: UnsafeRawBufferPointer, written: inout [UInt8]) throws(ReplicaError) {
        var reader = MutationReader(deltas)
        do {
            while try reader.nextTable() {
                while let operation = try reader.nextOperation() {
                    guard case .row(let key, let row) = operation else {
                        throw ReplicaError.storage("a counter update can only change rows")
                    }
                    written += try count(table: reader.table, key: key, row: RowView(row))
                }
            }
        } catch let error as ReplicaError {
            throw error
        } catch {
            throw .storage("counter update does not parse: \(error)")
        }
    }

    /// Applies the deltas of one row, holding the partition's lock from the read to the write.
    private func count(table: UUID, key: UnsafeRawBufferPointer, row: RowView) throws(ReplicaError) -> [UInt8] {
        let partition = UnsafeRawBufferPointer(rebasing: key[..<KeyView.partitionCount(of: key)])
        return try locks.withLock(table: table, partition: partition) { () throws(ReplicaError) in
            try countLocked(table: table, key: key, row: row)
        }
    }

    private func countLocked(
        table id: UUID, key: UnsafeRawBufferPointer, row: RowView
    ) throws(ReplicaError) -> [UInt8] {
        guard let table = engine.table(id) else { throw .unknownTable(id) }
        var shards: [Int: (clock: Int64, count: Int64)] = [:]
        do throws(StorageError) {
            try table.get(key) { current in
                var cursor = current.cells
                while cursor.advance() {
                    guard cursor.flags.contains(.counter), !cursor.isTombstone else { continue }
                    shards[cursor.column] = CounterValue.shard(of: node, in: cursor.value)
                }
            }
        } catch { throw LocalReplica.convert(error) }
        var writer = MutationWriter()
        var keyBytes = ByteWriter(capacity: key.count)
        keyBytes.write(key)
        writer.beginTable(id)
        writer.beginRow(key: keyBytes, timestamp: row.base, liveness: row.hasLiveness)
        var cursor = row.cells
        var value = ByteWriter(capacity: CounterValue.shardBytes)
        while cursor.advance() {
            if cursor.isTombstone {
                writer.tombstone(column: cursor.column, deletion: cursor.deletion)
                continue
            }
            guard cursor.flags.contains(.counter), cursor.value.count == 8 else {
                throw .storage("a counter update without a delta of 8 bytes")
            }
            let delta = Int64(bigEndian: cursor.value.loadUnaligned(as: Int64.self))
            let shard = shards[cursor.column] ?? (0, 0)
            value.removeAll()
            value.writeBE(node.high)
            value.writeBE(node.low)
            value.writeBE(shard.clock &+ 1)
            value.writeBE(shard.count &+ delta)
            writer.cell(column: cursor.column, timestamp: cursor.timestamp, value: value.bytes, isCounter: true)
        }
        writer.endRow()
        writer.endTable()
        try apply(writer)
        return writer.out.toArray()
    }

    /// Reads the ranges on background threads, so that their blocks are in memory when they are read.
    public func willRead(table id: UUID, ranges: [KeyRange], reversed: Bool) {
        guard let table = engine.table(id), !table.tables.isEmpty else { return }
        for range in ranges {
            engine.background.run(.read) {
                var left = LocalReplica.bytesReadAhead
                // The read itself reports errors.
                try? table.scan(range, reversed: reversed) { _, row in
                    left -= row.bytes.count
                    return left > 0
                }
            }
        }
    }

    /// How much of each range is read ahead.
    private static let bytesReadAhead = 64 << 10

    public func scan(
        table id: UUID, range: KeyRange, reversed: Bool, _ visit: (UnsafeRawBufferPointer, RowView) -> ScanStep
    ) throws(ReplicaError) {
        guard let table = engine.table(id) else { throw .unknownTable(id) }
        do {
            try engine.checkLogged(id, range)
            try table.scan(range, reversed: reversed) { visit($0, $1) == .next }
        } catch { throw LocalReplica.convert(error) }
    }

    public func get(table id: UUID, key: borrowing ByteWriter, _ visit: (RowView) -> Void) throws(ReplicaError) {
        guard let table = engine.table(id) else { throw .unknownTable(id) }
        do {
            try engine.checkLogged(id, key: key.bytes)
            try table.get(key.bytes, visit)
        } catch { throw LocalReplica.convert(error) }
    }
}
