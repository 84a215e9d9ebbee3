import DataModel
import Messages
import Primitives
import Storage

/// The Paxos acceptor for all partitions of this node.
///
/// 1. `prepare`: promises a ballot greater than the promised one. Returns the proposal that was accepted but not
///    committed, the last committed one, and the proposer's read.
/// 2. `propose`: accepts a ballot not below the promised one.
/// 3. `commit`: writes the value with its ballot's timestamps and records the ballot as committed.
///
/// Every reply depends on state that is in the commit log before the reply is sent (`needsSync`).
///
/// **Thread safety**: all methods, from any thread; a partition's lock orders its operations.
public struct PaxosAcceptor: Sendable {
    /// The local table that holds the acceptor's state. Part of the file format; do not change.
    public static let table = UUID(high: 0x6175_7370_6578_5041, low: 0x8058_4f53_0000_0001)
    public static let directoryName = "system/paxos-" + String(table.description.filter { $0 != "-" })

    private enum Column {
        static let promised = 0
        static let accepted = 1
        static let committed = 2
    }

    private struct State {
        var promised = Ballot.none
        var accepted: (ballot: Ballot, value: [UInt8])?
        var committed: (ballot: Ballot, value: [UInt8]) = (.none, [])
    }

    private let replica: LocalReplica

    public init(replica: LocalReplica) { self.replica = replica }

    /// Opens the table that holds the acceptor's state.
    public static func open(_ engine: StorageEngine) throws(StorageError) {
        try engine.openTable(table, name: directoryName, options: TableStoreOptions())
    }

    public func prepare(
        _ key: PaxosKey, _ ballot: Ballot, reading command: ReadCommand? = nil
    ) throws(ReplicaError) -> PaxosPromise {
        try locked(key) { (state) throws(ReplicaError) in
            let unfinished = state.accepted.flatMap { $0.ballot > state.committed.ballot ? $0 : nil }
            guard ballot > state.promised else {
                return PaxosPromise(
                    isPromised: false, promised: state.promised, accepted: unfinished, committed: state.committed)
            }
            var found: ReadAnswer?
            if let command { found = try replica.answer(command) }
            if !PlantedBugs.isOn(.paxosForgetsPromise) { try write(key, Column.promised, ballot, []) }
            return PaxosPromise(
                isPromised: true, promised: ballot, accepted: unfinished, committed: state.committed, found: found)
        }
    }

    /// - Returns: whether the proposal was accepted, and the ballot promised now.
    public func propose(
        _ key: PaxosKey, _ ballot: Ballot, value: [UInt8]
    ) throws(ReplicaError) -> (isAccepted: Bool, promised: Ballot) {
        try locked(key) { (state) throws(ReplicaError) in
            guard ballot >= state.promised else { return (false, state.promised) }
            if ballot > state.promised { try write(key, Column.promised, ballot, []) }
            try write(key, Column.accepted, ballot, value)
            return (true, ballot)
        }
    }

    public func commit(_ key: PaxosKey, _ ballot: Ballot, value: [UInt8]) throws(ReplicaError) {
        try locked(key) { (state) throws(ReplicaError) in
            // A late commit of an older round still writes: its timestamps decide.
            if !value.isEmpty { try apply(value) }
            if ballot > state.committed.ballot { try write(key, Column.committed, ballot, value) }
        }
    }

    // MARK: State

    private func locked<R>(_ key: PaxosKey, _ body: (State) throws(ReplicaError) -> R) throws(ReplicaError) -> R {
        try replica.withPartitionLock(table: PaxosAcceptor.table, partition: key.table.bytes + key.partition) {
            () throws(ReplicaError) in
            try body(try load(key))
        }
    }

    /// The partition's token, then the table and a 128-bit hash of the partition: a key of fixed size.
    private static func rowKey(_ key: PaxosKey) -> ByteWriter {
        var out = ByteWriter(capacity: 48)
        out.write(key.partition.prefix(8))
        out.writeBE(UInt16(32))
        out.write(key.table.bytes)
        out.writeBE(Checksum.xxh3(key.partition, seed: 1))
        out.writeBE(Checksum.xxh3(key.partition, seed: 2))
        out.write(KeyView.rowKind)
        return out
    }

    private func load(_ key: PaxosKey) throws(ReplicaError) -> State {
        var state = State()
        var failure: ByteError?
        try replica.get(table: PaxosAcceptor.table, key: PaxosAcceptor.rowKey(key)) { row in
            var cursor = row.cells
            while cursor.advance() {
                var reader = ByteReader(cursor.value)
                do throws(ByteError) {
                    let ballot = try Ballot(from: &reader)
                    let value = try reader.readArray(reader.remaining)
                    switch cursor.column {
                    case Column.promised: state.promised = ballot
                    case Column.accepted: state.accepted = (ballot, value)
                    default: state.committed = (ballot, value)
                    }
                } catch { failure = error }
            }
        }
        if let failure { throw .storage("the state of a lightweight transaction does not parse: \(failure)") }
        return state
    }

    private func write(_ key: PaxosKey, _ column: Int, _ ballot: Ballot, _ value: [UInt8]) throws(ReplicaError) {
        var cell = ByteWriter(capacity: value.count + 24)
        ballot.encode(into: &cell)
        cell.write(value)
        var mutation = MutationWriter(capacity: value.count + 128)
        mutation.beginTable(PaxosAcceptor.table)
        // If two ballots have the same timestamp, the one of the greater node has the greater bytes and wins.
        mutation.beginRow(key: PaxosAcceptor.rowKey(key), timestamp: ballot.timestamp, liveness: false)
        mutation.cell(column: column, timestamp: ballot.timestamp, value: cell.bytes)
        mutation.endRow()
        mutation.endTable()
        try replica.apply(mutation)
    }

    private func apply(_ value: [UInt8]) throws(ReplicaError) {
        do throws(StorageError) {
            try value.withUnsafeBytesTyped { (bytes) throws(StorageError) in
                try replica.engine.apply(bytes)
            }
        } catch { throw LocalReplica.convert(error) }
    }
}
