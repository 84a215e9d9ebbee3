import DataModel
import Primitives

/// Whether a call may wait for a disk.
public enum IOMode: Sendable {
    /// Never waits: the call fails with `wouldBlock` where it would have to.
    case nonBlocking
    /// Waits; for the I/O pool and background threads.
    case blocking
}

/// What a replica could not do.
public enum ReplicaError: Error, Sendable {
    /// Only with `IOMode.nonBlocking`: run the request again on the I/O pool with `.blocking`.
    case wouldBlock
    /// The table was dropped, or this node has not learned of it.
    case unknownTable(UUID)
    /// Other nodes have been asked; run the request again, from its start, when its port has their answer.
    case pending
    /// Another transaction came first: run the request again, from its start, at once.
    case restart
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
/// **Thread safety**: every method may be called from any thread.
public protocol ReplicaPort: Sendable {
    /// Appends the mutations to the commit log as one unit and applies them to the memtables.
    ///
    /// When it returns, readers see the mutations; they are durable after the node's end-of-tick flush, which precedes every acknowledgement.
    /// - Parameter mutations: whole encoded mutations (`MutationWriter`), one after another.
    func apply(_ mutations: borrowing MutationWriter, type: WriteType, io: IOMode) throws(ReplicaError)

    /// Adds to counters: reads the local shard, adds, writes, under the partition's lock.
    /// - Parameter deltas: mutations whose counter cells hold a delta as an 8-byte big-endian value.
    func applyCounters(_ deltas: borrowing MutationWriter, io: IOMode) throws(ReplicaError)

    /// Runs `body` as a lightweight transaction: what it reads is what it writes upon, and no other transaction of the partition comes between.
    /// - Parameter body: writes at most once; answers whether it came to a decision. It may be run more than once: the last run counts.
    /// - Throws: `wouldBlock`, without having run it, when another call holds the partition and `io` is `.nonBlocking`: its holder may be
    ///   waiting for a disk.
    func withTransaction(table: UUID, partition: [UInt8], io: IOMode, _ body: () -> Bool) throws(ReplicaError)

    /// Inside a transaction, the timestamp its write must have; nil: any that is new.
    var transactionTimestamp: Int64? { get }

    /// Whether somebody else decides if enough replicas live.
    var isCoordinated: Bool { get }

    /// What the client should know of the writes so far.
    var warnings: [String] { get }

    /// Forgets what the request has done so far, for it is to be executed from its start, by another schema.
    /// - Returns: false when that has gone on for too long.
    func startOver() -> Bool

    /// Visits the merged rows whose keys lie in `range`, in key order or its reverse.
    ///
    /// What newer deletions shadow is left out. A row whose cells are all dead or expired is visited all the same (`RowView.isLive`
    /// tells), so that the caller can count tombstones.
    /// - Parameters:
    ///   - visit: gets the key and the row, both borrowed until it returns.
    func scan(
        table: UUID, range: KeyRange, reversed: Bool, io: IOMode,
        _ visit: (_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep
    ) throws(ReplicaError)

    /// Visits the one row with exactly this key, if there is one. Cheaper than a scan.
    func get(
        table: UUID, key: borrowing ByteWriter, io: IOMode,
        _ visit: (_ row: RowView) -> Void
    ) throws(ReplicaError)
}

extension ReplicaPort {
    public var transactionTimestamp: Int64? { nil }
    public var isCoordinated: Bool { false }
    public var warnings: [String] { [] }
    public func startOver() -> Bool { true }
}
