import DataModel
import Messages
import Primitives

/// The port through which a request reads and writes: the replica in this process, or all replicas through a
/// coordinator.
///
/// Every call waits until it is done, on the calling fiber or thread. The caller must hold no thread lock.
public protocol ReplicaPort: Sendable {
    /// Appends the mutations to the commit log as one unit and applies them to the memtables.
    ///
    /// When it returns, reads see the mutations. They are durable after the node's end-of-tick flush, which precedes
    /// every acknowledgement.
    /// - Parameter mutations: whole encoded mutations (`MutationWriter`), one after another.
    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError)

    /// Adds to counters: reads the local shard, adds the delta, and writes, holding the partition's lock.
    /// - Parameter deltas: mutations whose counter cells hold a delta as an 8-byte big-endian value.
    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError)

    /// Runs `body` as a lightweight transaction: no other transaction of the partition runs between its read and its
    /// write.
    /// - Parameters:
    ///   - reading: the key that `body` reads first, so that it can be read in the same round trip; nil if not known.
    ///   - body: writes at most once. Returns false when it failed; the transaction then ends without a decision. It
    ///     may run more than once: only the last run counts, and its write takes effect when this method returns.
    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError)

    /// The timestamp that the current transaction's write must have; nil: any new one.
    var transactionTimestamp: Int64? { get }

    /// Whether a coordinator checks that enough replicas are alive.
    var isCoordinated: Bool { get }

    /// Warnings for the client about the writes so far.
    var warnings: [String] { get }

    /// Makes the request use the newest members and schema that the node knows.
    func refresh()

    /// Announces that these ranges will be read whole, in this order, so that a coordinator can start several reads
    /// together.
    func willRead(table: UUID, ranges: [KeyRange], reversed: Bool)

    /// Visits the merged rows whose keys lie in `range`, in key order or its reverse.
    ///
    /// Leaves out data shadowed by newer deletions. Also visits rows whose cells are all dead or expired (see
    /// `RowView.isLive`), so that the caller can count tombstones.
    /// - Parameters:
    ///   - visit: gets the key and the row, both borrowed until it returns.
    func scan(
        table: UUID, range: KeyRange, reversed: Bool,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError)

    /// Visits the one row with exactly this key, if there is one. Cheaper than a scan.
    func get(table: UUID, key: borrowing ByteWriter, _ visit: (_ row: RowView) -> Void) throws(ReplicaError)
}

extension ReplicaPort {
    public var transactionTimestamp: Int64? { nil }
    public var isCoordinated: Bool { false }
    public var warnings: [String] { [] }
    public func refresh() {}
    public func willRead(table: UUID, ranges: [KeyRange], reversed: Bool) {}
}
