import DataModel
import Primitives

/// A request of one node to another.
public enum PeerRequest: Sendable, Equatable {
    /// Apply whole encoded mutations (`MutationWriter`) as one unit.
    case write([UInt8])
    /// Apply mutations replayed from a hint, with their original timestamps.
    case hint([UInt8])
    /// Apply mutations that bring a replica up to the result of a read.
    case repair([UInt8])
    case read(ReadCommand)
    /// Return only the digest of the answer to `read`.
    case digest(ReadCommand)
    /// Add to counters on this replica, then replicate the result at the consistency level.
    case count(deltas: [UInt8], consistency: Consistency)
    /// Promise a ballot. If `reading` is not nil, a promise includes the answer to that read.
    case prepare(PaxosKey, Ballot, reading: ReadCommand?)
    case propose(PaxosKey, Ballot, value: [UInt8])
    case commit(PaxosKey, Ballot, value: [UInt8])
    case metadata(MetadataRequest)
    case gossip([UInt8])
    /// Hash the data of a slice of tokens. Reads all of it, which takes minutes for much data.
    case tree(TreeCommand)
    /// Store a logged batch until its coordinator removes it; apply it if that does not happen.
    case storeBatch(LoggedBatch)
    /// Remove a logged batch that has been applied.
    case removeBatch(BatchKey)
    /// Move whole sstables of a table.
    case stream(StreamRequest)

    /// Store mutations for a node that is down as a hint on disk, and send them when it is up.
    case keepHint(for: UUID, [UInt8])

    /// The kind of a request, by which peers queue, count and limit it. Part of the protocol; do not change. 11 was
    /// used once and must not be reused.
    public enum Verb: UInt8, Sendable, CaseIterable {
        case write = 1, hint = 2, repair = 3, read = 4, digest = 5, count = 6, prepare = 7, propose = 8, commit = 9,
            metadata = 10,
            gossip = 12, tree = 13, storeBatch = 14, removeBatch = 15, stream = 16, keepHint = 17
    }

    public var verb: Verb {
        switch self {
        case .write: .write
        case .hint: .hint
        case .repair: .repair
        case .read: .read
        case .digest: .digest
        case .count: .count
        case .prepare: .prepare
        case .propose: .propose
        case .commit: .commit
        case .metadata: .metadata
        case .gossip: .gossip
        case .tree: .tree
        case .storeBatch: .storeBatch
        case .removeBatch: .removeBatch
        case .stream: .stream
        case .keepHint: .keepHint
        }
    }

    /// Whether it requests rows or their digest.
    public var isRead: Bool {
        switch self {
        case .read, .digest: true
        default: false
        }
    }

    public func encode(into out: inout ByteWriter) {
        out.write(verb.rawValue)
        switch self {
        case .write(let mutations), .hint(let mutations), .repair(let mutations): out.writeLengthPrefixed(mutations)
        case .read(let command), .digest(let command): command.encode(into: &out)
        case .count(let deltas, let consistency):
            out.writeBE(consistency.rawValue)
            out.writeLengthPrefixed(deltas)
        case .prepare(let key, let ballot, let reading):
            key.encode(into: &out)
            ballot.encode(into: &out)
            out.write(reading == nil ? 0 : 1)
            reading?.encode(into: &out)
        case .propose(let key, let ballot, let value), .commit(let key, let ballot, let value):
            key.encode(into: &out)
            ballot.encode(into: &out)
            out.writeLengthPrefixed(value)
        case .metadata(let request): request.encode(into: &out)
        case .gossip(let bytes): out.writeLengthPrefixed(bytes)
        case .tree(let command): command.encode(into: &out)
        case .storeBatch(let batch):
            batch.key.encode(into: &out)
            out.writeLengthPrefixed(batch.mutations)
        case .removeBatch(let key): key.encode(into: &out)
        case .stream(let request): request.encode(into: &out)
        case .keepHint(let node, let mutations):
            out.write(node)
            out.writeLengthPrefixed(mutations)
        }
    }

    /// - Throws: `ByteError` when the bytes are not a request.
    public init(from reader: inout ByteReader) throws(ByteError) {
        guard let verb = Verb(rawValue: try reader.readU8()) else { throw .malformedVarint(offset: 0) }
        switch verb {
        case .write: self = .write(try PeerRequest.mutations(&reader))
        case .hint: self = .hint(try PeerRequest.mutations(&reader))
        case .repair: self = .repair(try PeerRequest.mutations(&reader))
        case .read: self = .read(try ReadCommand(from: &reader))
        case .digest: self = .digest(try ReadCommand(from: &reader))
        case .count:
            guard let consistency = Consistency(rawValue: try reader.readBE()) else {
                throw .malformedVarint(offset: reader.offset)
            }
            self = .count(deltas: try PeerRequest.mutations(&reader, counters: .deltas), consistency: consistency)
        case .prepare:
            self = .prepare(
                try PaxosKey(from: &reader), try Ballot(from: &reader),
                reading: try reader.readU8() == 0 ? nil : try ReadCommand(from: &reader))
        case .propose:
            self = .propose(
                try PaxosKey(from: &reader), try Ballot(from: &reader), value: try PeerRequest.mutations(&reader))
        case .commit:
            self = .commit(
                try PaxosKey(from: &reader), try Ballot(from: &reader), value: try PeerRequest.mutations(&reader))
        case .metadata: self = .metadata(try MetadataRequest(from: &reader))
        case .gossip: self = .gossip(try reader.readLengthPrefixed())
        case .tree: self = .tree(try TreeCommand(from: &reader))
        case .storeBatch:
            self = .storeBatch(
                LoggedBatch(key: try BatchKey(from: &reader), mutations: try PeerRequest.mutations(&reader)))
        case .removeBatch: self = .removeBatch(try BatchKey(from: &reader))
        case .stream: self = .stream(try StreamRequest(from: &reader))
        case .keepHint: self = .keepHint(for: try reader.readUUID(), try PeerRequest.mutations(&reader))
        }
    }

    /// Reads another node's mutations and validates them whole before any of them is applied.
    static func mutations(_ reader: inout ByteReader, counters: CounterForm = .shards) throws(ByteError) -> [UInt8] {
        let bytes = try reader.readLengthPrefixed()
        do throws(ByteError) {
            try bytes.withUnsafeBytesTyped { (raw) throws(ByteError) in
                try MutationReader.validate(raw, counters: counters)
            }
        } catch { throw error.moved(by: reader.offset - bytes.count) }
        return bytes
    }
}

/// The partition of a Paxos instance.
public struct PaxosKey: Sendable, Hashable {
    public var table: UUID
    /// The partition's part of an engine key: token, count, serialized key.
    public var partition: [UInt8]

    public init(table: UUID, partition: [UInt8]) {
        self.table = table
        self.partition = partition
    }

    func encode(into out: inout ByteWriter) {
        out.write(table)
        out.writeLengthPrefixed(partition)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        table = try reader.readUUID()
        let start = reader.offset
        partition = try reader.readLengthPrefixed()
        guard partition.withUnsafeBytes({ KeyView.isPartition($0) }) else {
            throw .unexpected(offset: start, expected: "the partition part of a key")
        }
    }
}

/// A request about the cluster's metadata: members and schema, one version after another.
public enum MetadataRequest: Sendable, Equatable {
    /// Return the newest version; the sender has this one.
    case fetch(after: UInt64)
    /// Promise a ballot for the version after `epoch`.
    case prepare(epoch: UInt64, Ballot)
    case accept(epoch: UInt64, Ballot, value: [UInt8])
    /// Version `epoch + 1` was chosen.
    case chosen(epoch: UInt64, value: [UInt8])
    /// Make a `MemberChange` on behalf of a node that is not a member, or may not make it itself.
    case change([UInt8])

    func encode(into out: inout ByteWriter) {
        switch self {
        case .fetch(let epoch):
            out.write(1)
            out.writeVarint(epoch)
        case .prepare(let epoch, let ballot):
            out.write(2)
            out.writeVarint(epoch)
            ballot.encode(into: &out)
        case .accept(let epoch, let ballot, let value):
            out.write(3)
            out.writeVarint(epoch)
            ballot.encode(into: &out)
            out.writeLengthPrefixed(value)
        case .chosen(let epoch, let value):
            out.write(4)
            out.writeVarint(epoch)
            out.writeLengthPrefixed(value)
        case .change(let bytes):
            out.write(5)
            out.writeLengthPrefixed(bytes)
        }
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        switch try reader.readU8() {
        case 1: self = .fetch(after: try reader.readVarint())
        case 2: self = .prepare(epoch: try reader.readVarint(), try Ballot(from: &reader))
        case 3:
            self = .accept(
                epoch: try reader.readVarint(), try Ballot(from: &reader), value: try reader.readLengthPrefixed())
        case 4: self = .chosen(epoch: try reader.readVarint(), value: try reader.readLengthPrefixed())
        case 5: self = .change(try reader.readLengthPrefixed())
        default: throw .malformedVarint(offset: reader.offset - 1)
        }
    }
}
