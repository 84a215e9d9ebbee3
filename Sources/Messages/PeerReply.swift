import DataModel
import Primitives

/// Why a replica could not perform a request. Raw values are the native protocol's reason codes (v5, section 9); do not
/// change.
public enum FailureReason: UInt16, Sendable {
    case unknown = 0
    case tooManyTombstones = 1
    case incompatibleSchema = 2
    case unknownTable = 3
    case overloaded = 4
    /// The disk or a file failed.
    case storage = 5
    /// The connection broke; the request may or may not have been performed.
    case connectionLost = 6
    /// The coordinator uses outdated members; nothing was done. Not part of the native protocol.
    case ringChanged = 0x100
}

/// The reply to a `PeerRequest`.
public enum PeerReply: Sendable, Equatable {
    case done
    case read(ReadAnswer)
    case digest(UUID)
    case promise(PaxosPromise)
    /// Whether the proposal was accepted; if not, `promised` is the greater ballot promised meanwhile.
    case accepted(Bool, promised: Ballot)
    case metadata(MetadataReply)
    case failed(FailureReason, String)
    case gossip([UInt8])
    case tree(MerkleTree)
    case stream(StreamReply)

    public func encode(into out: inout ByteWriter) {
        switch self {
        case .done: out.write(1)
        case .read(let answer):
            out.write(2)
            answer.encode(into: &out)
        case .digest(let digest):
            out.write(3)
            out.write(digest)
        case .promise(let promise):
            out.write(4)
            promise.encode(into: &out)
        case .accepted(let isAccepted, let promised):
            out.write(5)
            out.write(isAccepted ? 1 : 0)
            promised.encode(into: &out)
        case .metadata(let reply):
            out.write(6)
            reply.encode(into: &out)
        case .failed(let reason, let text):
            out.write(7)
            out.writeBE(reason.rawValue)
            out.writeLengthPrefixed(text)
        case .gossip(let bytes):
            out.write(8)
            out.writeLengthPrefixed(bytes)
        case .tree(let tree):
            out.write(9)
            tree.encode(into: &out)
        case .stream(let reply):
            out.write(10)
            reply.encode(into: &out)
        }
    }

    public init(from reader: inout ByteReader) throws(ByteError) {
        switch try reader.readU8() {
        case 1: self = .done
        case 2: self = .read(try ReadAnswer(from: &reader))
        case 3: self = .digest(try reader.readUUID())
        case 4: self = .promise(try PaxosPromise(from: &reader))
        case 5: self = .accepted(try reader.readU8() != 0, promised: try Ballot(from: &reader))
        case 6: self = .metadata(try MetadataReply(from: &reader))
        case 7:
            self = .failed(
                FailureReason(rawValue: try reader.readBE()) ?? .unknown, try reader.readLengthPrefixedText())
        case 8: self = .gossip(try reader.readLengthPrefixed())
        case 9: self = .tree(try MerkleTree(from: &reader))
        case 10: self = .stream(try StreamReply(from: &reader))
        default: throw .malformedVarint(offset: reader.offset - 1)
        }
    }
}

/// An acceptor's reply to `prepare`.
public struct PaxosPromise: Sendable, Equatable {
    /// False when a greater ballot, `promised`, was promised already.
    public var isPromised: Bool
    public var promised: Ballot
    /// The last proposal accepted and not known to be committed; its value is empty when nothing is to be written.
    public var accepted: (ballot: Ballot, value: [UInt8])?
    /// The last round known to be committed and the value it wrote, for replicas that missed it.
    public var committed: (ballot: Ballot, value: [UInt8])
    /// The answer to the read in `prepare`; only with a promise.
    public var found: ReadAnswer?

    public init(
        isPromised: Bool, promised: Ballot, accepted: (ballot: Ballot, value: [UInt8])?,
        committed: (ballot: Ballot, value: [UInt8]),
        found: ReadAnswer? = nil
    ) {
        self.isPromised = isPromised
        self.promised = promised
        self.accepted = accepted
        self.committed = committed
        self.found = found
    }

    public static func == (a: PaxosPromise, b: PaxosPromise) -> Bool {
        a.isPromised == b.isPromised && a.promised == b.promised && a.accepted?.ballot == b.accepted?.ballot
            && a.accepted?.value == b.accepted?.value && a.committed == b.committed && a.found == b.found
    }

    func encode(into out: inout ByteWriter) {
        out.write(isPromised ? 1 : 0)
        promised.encode(into: &out)
        out.write(accepted == nil ? 0 : 1)
        if let accepted {
            accepted.ballot.encode(into: &out)
            out.writeLengthPrefixed(accepted.value)
        }
        committed.ballot.encode(into: &out)
        out.writeLengthPrefixed(committed.value)
        out.write(found == nil ? 0 : 1)
        found?.encode(into: &out)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        isPromised = try reader.readU8() != 0
        promised = try Ballot(from: &reader)
        // A proposer proposes the values again and writes them.
        accepted = try reader.readU8() == 0 ? nil : (try Ballot(from: &reader), try PeerRequest.mutations(&reader))
        committed = (try Ballot(from: &reader), try PeerRequest.mutations(&reader))
        found = try reader.readU8() == 0 ? nil : try ReadAnswer(from: &reader)
    }
}

/// The reply to a `MetadataRequest`.
public enum MetadataReply: Sendable, Equatable {
    /// The node's newest version.
    case current(epoch: UInt64, value: [UInt8])
    /// Promised. Carries the previously accepted proposal, if there is one.
    case promise(accepted: Ballot?, value: [UInt8])
    case accepted
    /// A greater ballot was promised already.
    case refused(promised: Ballot)
    /// The node has not reached the requested version and must catch up first.
    case behind(epoch: UInt64)

    func encode(into out: inout ByteWriter) {
        switch self {
        case .current(let epoch, let value):
            out.write(1)
            out.writeVarint(epoch)
            out.writeLengthPrefixed(value)
        case .promise(let accepted, let value):
            out.write(accepted == nil ? 2 : 3)
            accepted?.encode(into: &out)
            out.writeLengthPrefixed(value)
        case .accepted: out.write(4)
        case .refused(let ballot):
            out.write(5)
            ballot.encode(into: &out)
        case .behind(let epoch):
            out.write(6)
            out.writeVarint(epoch)
        }
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        switch try reader.readU8() {
        case 1: self = .current(epoch: try reader.readVarint(), value: try reader.readLengthPrefixed())
        case 2: self = .promise(accepted: nil, value: try reader.readLengthPrefixed())
        case 3: self = .promise(accepted: try Ballot(from: &reader), value: try reader.readLengthPrefixed())
        case 4: self = .accepted
        case 5: self = .refused(promised: try Ballot(from: &reader))
        case 6: self = .behind(epoch: try reader.readVarint())
        default: throw .malformedVarint(offset: reader.offset - 1)
        }
    }
}
