import DataModel
import Messages
import Primitives

/// A replica that keeps encoded rows in a dictionary. It answers as `ReplicaService` does, without a disk.
package struct ModelReplica {
    private struct Table {
        var rows: [[UInt8]: [UInt8]] = [:]
        var deletions = RangeDeletions()
    }

    /// The Paxos state of a partition, with the rules of `PaxosAcceptor`.
    private struct Acceptor {
        var promised = Ballot.none
        var accepted: (ballot: Ballot, value: [UInt8])?
        var committed: (ballot: Ballot, value: [UInt8]) = (.none, [])
    }

    private var tables: [UUID: Table] = [:]
    private var acceptors: [PaxosKey: Acceptor] = [:]
    /// Logged batches by key; an empty value means removed.
    private var batches: [BatchKey: [UInt8]] = [:]
    /// Writes stored as hints for other nodes.
    package private(set) var kept: [(node: UUID, mutations: [UInt8])] = []
    private let merger = RowMerger()

    package init() {}

    package mutating func apply(_ mutations: [UInt8]) {
        mutations.withUnsafeBytes { bytes in
            var reader = MutationReader(bytes)
            do throws(ByteError) {
                while try reader.nextTable() {
                    var table = tables.removeValue(forKey: reader.table) ?? Table()
                    while let operation = try reader.nextOperation() {
                        switch operation {
                        case .row(let key, let row):
                            table.rows[[UInt8](key)] = merged(table.rows[[UInt8](key)], [UInt8](row))
                        case .deleteRange(let start, let end, let deletion):
                            table.deletions.add(
                                RangeTombstone(start: [UInt8](start), end: [UInt8](end), deletion: deletion))
                        }
                    }
                    tables[reader.table] = table
                }
            } catch { preconditionFailure("mutations do not parse: \(error)") }
        }
    }

    private func merged(_ old: [UInt8]?, _ new: [UInt8]) -> [UInt8]? {
        guard let old else { return new }
        var out = ByteWriter()
        return old.withUnsafeBytes { left in
            new.withUnsafeBytes { right in
                merger.begin()
                merger.add(RowView(left))
                merger.add(RowView(right))
                return merger.merge(shadow: .none, purge: nil, into: &out) ? out.toArray() : nil
            }
        }
    }

    /// Returns the merged row as a reader gets it; nil when nothing is left of it.
    private func read(_ table: Table, _ key: [UInt8], _ purge: PurgeRule?) -> [UInt8]? {
        guard let row = table.rows[key] else { return nil }
        var out = ByteWriter()
        return row.withUnsafeBytes { bytes in
            merger.begin()
            merger.add(RowView(bytes))
            let shadow = key.withUnsafeBytes { table.deletions.deletion(at: $0) }
            return merger.merge(shadow: shadow, purge: purge, into: &out) ? out.toArray() : nil
        }
    }

    /// Returns the keys of a range in the order of the read.
    private static func keys(_ table: Table, _ range: KeyRange, reversed: Bool) -> [[UInt8]] {
        table.rows.keys.filter { key in key.withUnsafeBytes { range.contains($0) } }.sorted {
            reversed ? compareBytes($0, $1) > 0 : compareBytes($0, $1) < 0
        }
    }

    package func rows(_ id: UUID, _ range: KeyRange, reversed: Bool = false) -> [(key: [UInt8], row: [UInt8])] {
        guard let table = tables[id] else { return [] }
        return ModelReplica.keys(table, range, reversed: reversed).compactMap { key in
            read(table, key, nil).map { (key, $0) }
        }
    }

    /// Returns the logged batches created before a time, in order.
    package func batches(before limit: Int64 = .max) -> [LoggedBatch] {
        batches.filter { $0.key.created < limit && !$0.value.isEmpty }.sorted { $0.key < $1.key }.map {
            LoggedBatch(key: $0.key, mutations: $0.value)
        }
    }

    package func deletions(_ id: UUID) -> RangeDeletions { tables[id]?.deletions ?? RangeDeletions() }

    package func answer(_ command: ReadCommand) -> ReadAnswer {
        let table = tables[command.table] ?? Table()
        let purge = PurgeRule(gcBefore: command.gcBefore, maxPurgeableTimestamp: .max, now: command.now)
        var found: [(key: [UInt8], row: [UInt8])] = []
        var bytes = 0
        var isFull = false
        for key in ModelReplica.keys(table, command.range, reversed: command.reversed) {
            guard let row = read(table, key, purge) else { continue }
            if found.count >= command.rowLimit || bytes >= command.byteLimit {
                isFull = true
                break
            }
            bytes += 9 + key.count + row.count
            found.append((key, row))
        }
        let lastKey = found.last?.key ?? []
        let coveredTo: [UInt8]? = isFull ? (command.reversed ? lastKey : lastKey + [0]) : nil
        var out = MutationWriter()
        for (key, row) in command.reversed ? found.reversed() : found {
            key.withUnsafeBytes { key in row.withUnsafeBytes { out.row(key: key, encoded: $0) } }
        }
        var answer = ReadAnswer(coveredTo: coveredTo, operations: [], rowCount: found.count)
        for span in table.deletions.clipped(to: answer.covered(of: command)).spans
        where span.deletion.localDeletion >= command.gcBefore {
            out.deleteRange(KeyRange(start: span.start, end: span.end), deletion: span.deletion)
        }
        answer.operations = out.out.toArray()
        return answer
    }

    package func tree(_ command: TreeCommand) -> MerkleTree {
        let table = tables[command.table] ?? Table()
        let purge = PurgeRule(gcBefore: command.gcBefore, maxPurgeableTimestamp: .max, now: command.now)
        var builder = TreeBuilder(command)
        for key in ModelReplica.keys(table, command.tokens.keys, reversed: false) {
            guard let row = read(table, key, purge) else { continue }
            key.withUnsafeBytes { key in row.withUnsafeBytes { builder.add(key: key, row: RowView($0)) } }
        }
        for span in table.deletions.clipped(to: command.tokens.keys).spans
        where span.deletion.localDeletion >= command.gcBefore {
            builder.add(span)
        }
        return builder.finish()
    }

    /// Adds to the counter shard of `node` and returns the new shards as mutations.
    package mutating func count(_ deltas: [UInt8], node: UUID) -> [UInt8] {
        var out = MutationWriter()
        deltas.withUnsafeBytes { bytes in
            var reader = MutationReader(bytes)
            do throws(ByteError) {
                while try reader.nextTable() {
                    out.beginTable(reader.table)
                    while case .row(let key, let row)? = try reader.nextOperation() {
                        count([UInt8](key), row, table: reader.table, node: node, into: &out)
                    }
                    out.endTable()
                }
            } catch { preconditionFailure("deltas do not parse: \(error)") }
        }
        let written = out.out.toArray()
        apply(written)
        return written
    }

    private func count(
        _ key: [UInt8], _ row: UnsafeRawBufferPointer, table: UUID, node: UUID, into out: inout MutationWriter
    ) {
        var name = ByteWriter()
        name.write(key)
        out.beginRow(key: name, timestamp: RowView(row).base, liveness: false)
        var cursor = RowView(row).cells
        while cursor.advance() {
            var shard: (clock: Int64, count: Int64) = (0, 0)
            if let old = tables[table]?.rows[key] {
                old.withUnsafeBytes { bytes in
                    var cells = RowView(bytes).cells
                    while cells.advance() {
                        if cells.column == cursor.column { shard = CounterValue.shard(of: node, in: cells.value) }
                    }
                }
            }
            var value = ByteWriter()
            value.write(node.bytes)
            value.writeBE(shard.clock + 1)
            value.writeBE(shard.count &+ Int64(bigEndian: cursor.value.loadUnaligned(as: Int64.self)))
            out.cell(column: cursor.column, timestamp: cursor.timestamp, value: value.bytes, isCounter: true)
        }
        out.endRow()
    }

    package mutating func handle(_ request: PeerRequest) -> PeerReply {
        switch request {
        case .write(let mutations), .hint(let mutations), .repair(let mutations):
            apply(mutations)
            return .done
        case .read(let command): return .read(answer(command))
        case .digest(let command): return .digest(answer(command).digest)
        case .prepare(let key, let ballot, let reading):
            var state = acceptors[key] ?? Acceptor()
            let unfinished = state.accepted.flatMap { $0.ballot > state.committed.ballot ? $0 : nil }
            let isPromised = ballot > state.promised
            if isPromised { state.promised = ballot }
            acceptors[key] = state
            return .promise(
                PaxosPromise(
                    isPromised: isPromised, promised: state.promised, accepted: unfinished, committed: state.committed,
                    found: isPromised ? reading.map(answer) : nil))
        case .propose(let key, let ballot, let value):
            var state = acceptors[key] ?? Acceptor()
            guard ballot >= state.promised else { return .accepted(false, promised: state.promised) }
            state.promised = ballot
            state.accepted = (ballot, value)
            acceptors[key] = state
            return .accepted(true, promised: ballot)
        case .commit(let key, let ballot, let value):
            if !value.isEmpty { apply(value) }
            if ballot > acceptors[key, default: Acceptor()].committed.ballot {
                acceptors[key, default: Acceptor()].committed = (ballot, value)
            }
            return .done
        case .tree(let command): return .tree(tree(command))
        case .storeBatch(let batch):
            if batches[batch.key] == nil { batches[batch.key] = batch.mutations }
            return .done
        case .removeBatch(let key):
            batches[key] = []
            return .done
        case .keepHint(let node, let mutations):
            kept.append((node, mutations))
            return .done
        case .count, .metadata, .gossip, .stream: return .failed(.unknown, "not for the replica")
        }
    }
}
