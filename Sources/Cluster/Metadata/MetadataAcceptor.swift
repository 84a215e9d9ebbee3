import Messages
import Primitives

/// The acceptor role of one node in choosing metadata versions: the newest version it knows, its promise and its
/// accepted proposal.
///
/// 1. Each version is a separate Paxos instance. The node promises and accepts only for the version that follows its
///    newest one.
/// 2. For an older epoch the reply is the newest version; for a later epoch it is the epoch this node has reached.
/// 3. The caller must persist any state change (`encode`) before it sends the reply.
public struct MetadataAcceptor: Sendable, Equatable {
    public private(set) var current: ClusterMetadata
    public private(set) var promised = Ballot.none
    private var acceptedBallot = Ballot.none
    private var acceptedValue: [UInt8] = []

    public init(current: ClusterMetadata) { self.current = current }

    /// Handles a request of another node or of this one.
    /// - Returns: the reply, and whether the state has changed.
    public mutating func handle(_ request: MetadataRequest) -> (reply: MetadataReply, hasChanged: Bool) {
        switch request {
        case .fetch: return (.current(epoch: current.epoch, value: current.encode()), false)
        case .prepare(let epoch, let ballot):
            if let other = elsewhere(epoch) { return (other, false) }
            guard ballot > promised else { return (.refused(promised: promised), false) }
            promised = ballot
            return (.promise(accepted: acceptedBallot == .none ? nil : acceptedBallot, value: acceptedValue), true)
        case .accept(let epoch, let ballot, let value):
            if let other = elsewhere(epoch) { return (other, false) }
            guard ballot >= promised else { return (.refused(promised: promised), false) }
            // Never accept a value that does not decode.
            guard let next = ClusterMetadata.readable(value), next.epoch == current.epoch + 1 else {
                return (.refused(promised: promised), false)
            }
            promised = ballot
            acceptedBallot = ballot
            acceptedValue = value
            return (.accepted, true)
        case .chosen(_, let value):
            return (.accepted, install(value))
        case .change: return (.behind(epoch: current.epoch), false)
        }
    }

    private func elsewhere(_ epoch: UInt64) -> MetadataReply? {
        if epoch < current.epoch { return .current(epoch: current.epoch, value: current.encode()) }
        return epoch > current.epoch ? .behind(epoch: current.epoch) : nil
    }

    /// Installs a chosen version if it is newer.
    /// - Returns: whether it was newer.
    public mutating func install(_ value: [UInt8]) -> Bool {
        guard let next = ClusterMetadata.readable(value), next.epoch > current.epoch else { return false }
        current = next
        promised = .none
        acceptedBallot = .none
        acceptedValue = []
        return true
    }

    // MARK: The file

    /// Part of the file format; do not change.
    private static let magic: [UInt8] = Array("AXMA".utf8) + [1]

    /// Encodes `"AXMA" format(1) promised accepted accepted-value metadata checksum(8)`; a count precedes each of the
    /// two values.
    public func encode() -> [UInt8] {
        var out = ByteWriter(capacity: 2048)
        out.write(MetadataAcceptor.magic)
        promised.encode(into: &out)
        acceptedBallot.encode(into: &out)
        out.writeLengthPrefixed(acceptedValue)
        out.writeLengthPrefixed(current.encode())
        out.writeLE(Checksum.xxh3(out.bytes))
        return out.toArray()
    }

    public init(decoding bytes: [UInt8]) throws(ByteError) {
        guard bytes.count >= 8 else { throw .truncated(offset: 0, needed: 8, available: bytes.count) }
        let body = Array(bytes.dropLast(8))
        let sum = bytes.suffix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard Checksum.xxh3(body) == sum else { throw .malformedVarint(offset: body.count) }
        self = try body.withReader { (reader) throws(ByteError) in
            guard try reader.readArray(MetadataAcceptor.magic.count) == MetadataAcceptor.magic else {
                throw .malformedVarint(offset: 0)
            }
            let promised = try Ballot(from: &reader)
            let acceptedBallot = try Ballot(from: &reader)
            let acceptedValue = try reader.readLengthPrefixed()
            var acceptor = MetadataAcceptor(current: try ClusterMetadata(decoding: try reader.readLengthPrefixed()))
            acceptor.promised = promised
            acceptor.acceptedBallot = acceptedBallot
            acceptor.acceptedValue = acceptedValue
            return acceptor
        }
    }
}
