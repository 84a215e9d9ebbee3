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
    /// A limit was reached; the client should slow down.
    case overloaded(String)
    /// The disk or a file failed; the message names file, offset, expectation.
    case storage(String)
}

/// Whether a visitor wants the next row.
public enum ScanStep: Sendable { case next, stop }

/// What a coordinator asks of the replica in this process.
///
/// **Thread safety**: every method may be called from any thread.
public protocol ReplicaPort: Sendable {
    /// Appends the mutations to the commit log as one unit and applies them to the memtables.
    ///
    /// When it returns, readers see the mutations; they are durable after the node's end-of-tick flush, which precedes every acknowledgement.
    /// - Parameter mutations: whole encoded mutations (`MutationWriter`), one after another.
    func apply(_ mutations: borrowing MutationWriter, io: IOMode) throws(ReplicaError)

    /// Adds to counters: reads the local shard, adds, writes, under the partition's lock.
    /// - Parameter deltas: mutations whose counter cells hold a delta as an 8-byte big-endian value.
    func applyCounters(_ deltas: borrowing MutationWriter, io: IOMode) throws(ReplicaError)

    /// Runs `body` while no other call holds the same partition: a lightweight transaction reads, checks and writes inside.
    /// - Returns: nil, without having run it, when another call holds the partition and `io` is `.nonBlocking`: its holder may be waiting for a disk.
    func withPartitionLock<R>(
        table: UUID, partition: [UInt8], io: IOMode, _ body: () throws(ServerError) -> R
    ) throws(ServerError) -> R?

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
