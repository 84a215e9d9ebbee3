import DataModel
import Messages
import Primitives
import Storage

/// The acceptor of Paxos for every partition of this node.
///
/// 1. `prepare`: a ballot greater than the promised one is promised; what was accepted and not committed, and what was committed last, is told, and what the
///    proposer wants to read with it.
/// 2. `propose`: a ballot not below the promised one is accepted.
/// 3. `commit`: the value is written with the timestamps of its ballot, and the ballot kept as committed.
/// Every answer rests on state that is in the commit log before it leaves the node (`needsSync`).
///
/// **Thread safety**: all methods, from any thread; a partition's lock orders what happens to it.
public struct PaxosAcceptor: Sendable {
    /// The table that holds the acceptor's state, of this node only. Part of the file format; do not change.
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

    /// Opens the table of the acceptor's state.
    public static func open(_ engine: StorageEngine) throws(StorageError) {
        try engine.openTable(table, name: directoryName, options: TableStoreOptions())
    }

    public func prepare(
        _ key: PaxosKey, _ ballot: Ballot, reading command: ReadCommand? = nil
    ) throws(ReplicaError) -> PaxosPromise {
        try locked(key) { (state) throws(ReplicaError) in
            let unfinished = state.accepted.flatMap { $0.ballot > state.committed.ballot ? $0 : nil }
            guard ballot > state.promised else {
                return PaxosPromise(isPromised: false, promised: state.promised, accepted: unfinished, committed: state.committed)
            }
            var found: ReadAnswer?
            if let command { found = try replica.answer(command) }
            if !PlantedBugs.isOn(.paxosForgetsPromise) { try write(key, Column.promised, ballot, []) }
            return PaxosPromise(isPromised: true, promised: ballot, accepted: unfinished, committed: state.committed, found: found)
        }
    }

    /// - Returns: whether it was accepted, and the ballot that is promised now.
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
            // An older round may come late: its write still counts by its timestamps.
            if !value.isEmpty { try apply(value) }
            if ballot > state.committed.ballot { try write(key, Column.committed, ballot, value) }
        }
    }

    // MARK: State

    private func locked<R>(_ key: PaxosKey, _ body: (State) throws(ReplicaError) -> R) throws(ReplicaError) -> R {
        try replica.withPartitionLock(table: PaxosAcceptor.table, partition: key.table.bytes + key.partition) { () throws(ReplicaError) in
            try body(try load(key))
        }
    }

    /// Token of the partition, then table and partition as a hash of 128 bits: a key of fixed size whatever the partition's.
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
        // Of two ballots with one timestamp the greater node has the greater bytes, which wins.
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
