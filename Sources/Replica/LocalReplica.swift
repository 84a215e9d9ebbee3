import DataModel
import Messages
import Primitives
import Storage
import Synchronization

/// Answers a coordinator from the storage of this node.
///
/// **Thread safety**: all methods, from any thread. A partition's lock is one of 1,024; a loop that may not wait does not wait for it either.
public final class LocalReplica: ReplicaPort {
    private final class Stripe: Sendable {
        let lock = Mutex<Void>(())
    }

    let engine: StorageEngine
    private let node: UUID
    private let stripes: [Stripe]

    /// - Parameter node: the host id, under which this node counts.
    public init(engine: StorageEngine, node: UUID) {
        self.engine = engine
        self.node = node
        stripes = (0..<1024).map { _ in Stripe() }
    }

    static func convert(_ error: StorageError) -> ReplicaError {
        switch error {
        case .wouldBlock: .wouldBlock
        case .unknownTable(let id): .unknownTable(id)
        case .overloaded(let why): .overloaded(why)
        default: .storage(error.description)
        }
    }

    public func apply(_ mutations: borrowing MutationWriter, type: WriteType, io: IOMode) throws(ReplicaError) {
        try apply(mutations, io: io)
    }

    func apply(_ mutations: borrowing MutationWriter, io: IOMode) throws(ReplicaError) {
        do { try engine.apply(mutations.out.bytes, mayBlock: io == .blocking) } catch { throw LocalReplica.convert(error) }
    }

    private func stripe(_ table: UUID, _ partition: UnsafeRawBufferPointer) -> Stripe {
        stripes[Int(truncatingIfNeeded: Checksum.xxh3(partition, seed: table.low) & 1023)]
    }

    public func withTransaction(table: UUID, partition: [UInt8], io: IOMode, _ body: () -> Bool) throws(ReplicaError) {
        try withPartitionLock(table: table, partition: partition, io: io) { _ = body() }
    }

    /// Runs `body` while no other call holds the same partition.
    func withPartitionLock(table: UUID, partition: [UInt8], io: IOMode, _ body: () -> Void) throws(ReplicaError) {
        let stripe = partition.withUnsafeBytes { self.stripe(table, $0) }
        let hasRun: Bool
        switch io {
        case .blocking:
            stripe.lock.withLock { _ in body() }
            hasRun = true
        case .nonBlocking: hasRun = stripe.lock.withLockIfAvailable { _ in body() } != nil
        }
        if !hasRun { throw .wouldBlock }
    }

    public func applyCounters(_ deltas: borrowing MutationWriter, io: IOMode) throws(ReplicaError) {
        var none: [UInt8] = []
        try count(deltas.out.bytes, io: io, written: &none)
    }

    /// Adds to counters, as `applyCounters`.
    /// - Parameter written: gets the mutations that hold the new shards, for the other replicas.
    func count(_ deltas: UnsafeRawBufferPointer, io: IOMode, written: inout [UInt8]) throws(ReplicaError) {
        var reader = MutationReader(deltas)
        do {
            while try reader.nextTable() {
                while let operation = try reader.nextOperation() {
                    guard case .row(let key, let row) = operation else {
                        throw ReplicaError.storage("a counter update can only change rows")
                    }
                    written += try count(table: reader.table, key: key, row: RowView(row), io: io)
                }
            }
        } catch let error as ReplicaError {
            throw error
        } catch {
            throw .storage("counter update does not parse: \(error)")
        }
    }

    /// Adds the deltas of one row, with the partition held from the read to the write.
    private func count(table: UUID, key: UnsafeRawBufferPointer, row: RowView, io: IOMode) throws(ReplicaError) -> [UInt8] {
        let stripe = stripe(table, UnsafeRawBufferPointer(rebasing: key[..<KeyView.partitionCount(of: key)]))
        // SAFETY: the pointers are used only inside the call, on the calling thread.
        nonisolated(unsafe) let (key, row) = (key, row)
        let work: () -> Result<[UInt8], ReplicaError> = {
            do throws(ReplicaError) { return .success(try self.countLocked(table: table, key: key, row: row, io: io)) } catch {
                return .failure(error)
            }
        }
        nonisolated(unsafe) let unsafeWork = work
        let outcome = io == .blocking ? stripe.lock.withLock { _ in unsafeWork() } : stripe.lock.withLockIfAvailable { _ in unsafeWork() }
        guard let outcome else { throw .wouldBlock }
        return try outcome.get()
    }

    private func countLocked(
        table id: UUID, key: UnsafeRawBufferPointer, row: RowView, io: IOMode
    ) throws(ReplicaError) -> [UInt8] {
        guard let table = engine.table(id) else { throw .unknownTable(id) }
        var shards: [Int: (clock: Int64, count: Int64)] = [:]
        do throws(StorageError) {
            try table.get(key, mayBlock: io == .blocking) { current in
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
        try apply(writer, io: io)
        return writer.out.toArray()
    }

    public func scan(
        table id: UUID, range: KeyRange, reversed: Bool, io: IOMode, _ visit: (UnsafeRawBufferPointer, RowView) -> ScanStep
    ) throws(ReplicaError) {
        guard let table = engine.table(id) else { throw .unknownTable(id) }
        do { try table.scan(range, reversed: reversed, mayBlock: io == .blocking) { visit($0, $1) == .next } } catch {
            throw LocalReplica.convert(error)
        }
    }

    public func get(table id: UUID, key: borrowing ByteWriter, io: IOMode, _ visit: (RowView) -> Void) throws(ReplicaError) {
        guard let table = engine.table(id) else { throw .unknownTable(id) }
        do { try table.get(key.bytes, mayBlock: io == .blocking, visit) } catch { throw LocalReplica.convert(error) }
    }
}
