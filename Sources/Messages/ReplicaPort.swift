import DataModel
import Primitives

/// What a replica could not do.
public enum ReplicaError: Error, Sendable {
    /// The table was dropped, or this node has not learned of it.
    case unknownTable(UUID)
    /// What other nodes answered, as the client is told.
    case server(ServerError)
    /// A limit was reached; the client should slow down.
    case overloaded(String)
    /// The disk or a file failed; the message names file, offset, expectation.
    case storage(String)
}

/// Whether a visitor wants the next row.
public enum ScanStep: Sendable { case next, stop }

/// What kind of write it is, as errors name it.
public enum WriteType: String, Sendable {
    case simple = "SIMPLE"
    case batch = "BATCH"
    case unloggedBatch = "UNLOGGED_BATCH"
    case counter = "COUNTER"
    case batchLog = "BATCH_LOG"
    case cas = "CAS"
}

/// Where a request reads and writes: the replica in this process, or all replicas through a coordinator.
///
/// Every call waits until it is done: on the fiber that calls, or on the thread where there is none. No lock may be held meanwhile.
public protocol ReplicaPort: Sendable {
    /// Appends the mutations to the commit log as one unit and applies them to the memtables.
    ///
    /// When it returns, readers see the mutations; they are durable after the node's end-of-tick flush, which precedes every acknowledgement.
    /// - Parameter mutations: whole encoded mutations (`MutationWriter`), one after another.
    func apply(_ mutations: borrowing MutationWriter, type: WriteType) throws(ReplicaError)

    /// Adds to counters: reads the local shard, adds, writes, under the partition's lock.
    /// - Parameter deltas: mutations whose counter cells hold a delta as an 8-byte big-endian value.
    func applyCounters(_ deltas: borrowing MutationWriter) throws(ReplicaError)

    /// Runs `body` as a lightweight transaction: it sees what its write builds upon, and no other transaction of the partition comes between.
    /// - Parameters:
    ///   - reading: the key that `body` reads first, so that it can be read in the same round trip; nil when not known.
    ///   - body: writes at most once; returns false when it failed, and the transaction ends without a decision. It may be run more than once: the
    ///     last run counts, and its write takes effect only when this method returns.
    func withTransaction(table: UUID, partition: [UInt8], reading: [UInt8]?, _ body: () -> Bool) throws(ReplicaError)

    /// Inside a transaction, the timestamp its write must have; nil: any that is new.
    var transactionTimestamp: Int64? { get }

    /// Whether a coordinator decides if enough replicas are alive.
    var isCoordinated: Bool { get }

    /// What the client should know of the writes so far.
    var warnings: [String] { get }

    /// From now on the request goes by the newest members and schema that the node knows.
    func refresh()

    /// Says that these ranges are about to be read whole, in this order, with these options: a coordinator asks for several at once.
    func willRead(table: UUID, ranges: [KeyRange], reversed: Bool)

    /// Visits the merged rows whose keys lie in `range`, in key order or its reverse.
    ///
    /// What newer deletions shadow is left out. A row whose cells are all dead or expired is visited all the same (`RowView.isLive`
    /// tells), so that the caller can count tombstones.
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
