import DataModel
import Messages
import Primitives
import Storage
import Synchronization

/// The batchlog of this node: logged batches of other coordinators, stored until those remove them.
///
/// 1. `store` keeps a batch, `remove` deletes it. A copy that arrives after the removal has no effect: the removal is a
///    deletion with the batch's own timestamp, and the deletion wins.
/// 2. `look` finds the batches that remain: their coordinators died or did not reach a replica.
/// 3. Batches are ordered by creation time. A look starts at the first batch the previous look found; a batch that is
///    stored with an earlier time moves that start back. So old, removed batches are not read again each time.
///
/// **Thread safety**: all methods, from any thread; one `look` at a time.
public final class BatchLog: Sendable {
    /// The local table that holds the batches. Part of the file format; do not change.
    public static let table = UUID(high: 0x6175_7370_6578_4241, low: 0x8054_4348_0000_0001)
    public static let directoryName = "system/batches-" + String(table.description.filter { $0 != "-" })
    /// How long a copy of a removed batch may still arrive, in seconds; removals are kept that long.
    static let graceSeconds: UInt32 = 3600
    /// The format version of a stored batch. Part of the file format; do not change.
    private static let version: UInt8 = 1

    private struct Place {
        /// No stored batch is older.
        var first = Int64.min
        /// The oldest batch stored during the current look.
        var late = Int64.max
    }

    private let replica: LocalReplica
    private let place = Mutex(Place())
    private let storedCount = Atomic<Int>(0)

    public init(replica: LocalReplica) { self.replica = replica }

    /// Batches stored since the start.
    public var stored: Int { storedCount.load(ordering: .relaxed) }

    /// Opens the table that holds the batches.
    public static func open(_ engine: StorageEngine) throws(StorageError) {
        var options = TableStoreOptions()
        options.gcGraceSeconds = graceSeconds
        try engine.openTable(table, name: directoryName, options: options)
    }

    /// Stores a batch.
    /// - Throws: `unknownTable` when this node does not know a table of the batch: a replay would treat it as dropped.
    public func store(_ batch: LoggedBatch) throws(ReplicaError) {
        if let unknown = unknownTable(batch.mutations) { throw .unknownTable(unknown) }
        var mutation = MutationWriter(capacity: batch.mutations.count + 128)
        mutation.beginTable(BatchLog.table)
        mutation.beginRow(key: BatchLog.rowKey(batch.key), timestamp: batch.key.created, liveness: false)
        var cell = ByteWriter(capacity: batch.mutations.count + 1)
        cell.write(BatchLog.version)
        cell.write(batch.mutations)
        mutation.cell(column: 0, timestamp: batch.key.created, value: cell.bytes)
        mutation.endRow()
        mutation.endTable()
        try replica.apply(mutation)
        storedCount.add(1, ordering: .relaxed)
        // Update after the write: a look that began earlier either finds the batch, or the next look starts early
        // enough.
        place.withLock { place in
            place.first = min(place.first, batch.key.created)
            place.late = min(place.late, batch.key.created)
        }
    }

    private func unknownTable(_ mutations: [UInt8]) -> UUID? {
        mutations.withUnsafeBytes { bytes in
            var reader = MutationReader(bytes)
            do throws(ByteError) {
                while try reader.nextTable() { if replica.engine.table(reader.table) == nil { return reader.table } }
            } catch { return nil }  // unreachable: the request was checked on arrival
            return nil
        }
    }

    public func remove(_ key: BatchKey) throws(ReplicaError) {
        try remove(rowKey: BatchLog.rowKey(key).toArray(), timestamp: key.created)
    }

    private func remove(rowKey: [UInt8], timestamp: Int64) throws(ReplicaError) {
        var key = ByteWriter(capacity: rowKey.count)
        key.write(rowKey)
        var mutation = MutationWriter(capacity: 128)
        mutation.beginTable(BatchLog.table)
        let deletion = DeletionTime(timestamp: timestamp, localDeletion: UInt32(clamping: timestamp / 1_000_000))
        mutation.beginRow(key: key, timestamp: .min, liveness: false, deletion: deletion)
        mutation.endRow()
        mutation.endTable()
        try replica.apply(mutation)
    }

    /// Visits the batches created before `limit`, in order, page by page. Waits for the disk.
    /// - Parameters:
    ///   - pageBytes: the size at which a page is full; a page has at least one batch.
    ///   - pageCount: the maximum number of batches per page.
    ///   - visit: gets a page, may remove its batches, and returns whether to continue.
    public func look(
        before limit: Int64, pageBytes: Int, pageCount: Int, _ visit: ([LoggedBatch]) throws(ReplicaError) -> ScanStep
    ) throws(ReplicaError) {
        let start = place.withLock { place in
            place.late = .max
            return place.first
        }
        guard start < limit else { return }
        var range = KeyRange(
            start: BatchLog.prefix(start), end: limit == .max ? KeyRange.all.end : BatchLog.prefix(limit))
        var first: Int64?
        while true {
            let page = try read(&range, pageBytes, pageCount)
            guard let oldest = page.first else { break }
            if first == nil { first = oldest.key.created }
            if try visit(page) == .stop || range.isEmpty { break }
        }
        place.withLock { $0.first = min(first ?? limit, $0.late) }
    }

    /// Reads a page and moves `range` past it.
    private func read(_ range: inout KeyRange, _ pageBytes: Int, _ pageCount: Int) throws(ReplicaError) -> [LoggedBatch]
    {
        var page: [LoggedBatch] = []
        var bytes = 0
        var last: [UInt8]?
        var unreadable: [(key: [UInt8], timestamp: Int64, isOurs: Bool, error: ByteError)] = []
        try replica.scan(table: BatchLog.table, range: range, reversed: false) { key, row in
            var cursor = row.cells
            while cursor.advance() {
                guard cursor.column == 0, !cursor.isTombstone else { continue }
                do throws(ByteError) {
                    let batch = try BatchLog.batch(key: key, value: cursor.value)
                    bytes += batch.mutations.count
                    page.append(batch)
                } catch {
                    let isOurs = cursor.value.first.map { $0 == BatchLog.version } ?? true
                    unreadable.append(([UInt8](key), row.newestTimestamp, isOurs, error))
                }
            }
            guard bytes >= pageBytes || page.count >= pageCount else { return .next }
            last = [UInt8](key)
            return .stop
        }
        for one in unreadable {
            // It would be found again each time. One of another release is left to that release.
            replica.engine.report(
                "a logged batch does not parse and is \(one.isOurs ? "removed" : "left alone"): \(one.error)")
            if one.isOurs { try remove(rowKey: one.key, timestamp: one.timestamp) }
        }
        range.start = last.map { $0 + [0] } ?? range.end
        return page
    }

    // MARK: Form

    /// The first 8 bytes of the keys of batches created at a time; in place of a token.
    private static func prefix(_ created: Int64) -> [UInt8] {
        var out = ByteWriter(capacity: 8)
        out.writeBE(UInt64(bitPattern: created) ^ (1 << 63))
        return out.toArray()
    }

    private static func rowKey(_ key: BatchKey) -> ByteWriter {
        var out = ByteWriter(capacity: 32)
        out.write(prefix(key.created))
        out.writeBE(UInt16(16))
        out.write(key.id.bytes)
        out.write(KeyView.rowKind)
        return out
    }

    private static func batch(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(ByteError)
        -> LoggedBatch
    {
        var reader = ByteReader(key)
        let created = Int64(bitPattern: try reader.readBE() ^ (1 << 63))
        let count: UInt16 = try reader.readBE()
        guard count == 16 else { throw .malformedVarint(offset: 8) }
        let id = try reader.readUUID()
        var cell = ByteReader(value)
        guard created > 0 else { throw .unexpected(offset: 0, expected: "the time of a batch") }
        guard try cell.readU8() == version else { throw .malformedVarint(offset: 0) }
        let mutations = try cell.readArray(cell.remaining)
        try mutations.withUnsafeBytesTyped { (bytes) throws(ByteError) in try MutationReader.validate(bytes) }
        return LoggedBatch(key: BatchKey(created: created, id: id), mutations: mutations)
    }
}
