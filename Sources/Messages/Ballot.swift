import Primitives

/// A Paxos ballot: later ballots are greater, and no two proposers share one.
public struct Ballot: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Microseconds of the proposer's hybrid clock; also the timestamp of the data written in this round.
    public var timestamp: Int64
    /// Host id of the proposer.
    public var node: UUID

    public init(timestamp: Int64, node: UUID) {
        self.timestamp = timestamp
        self.node = node
    }

    /// Lower than every ballot of a proposer.
    public static let none = Ballot(timestamp: .min, node: UUID(high: 0, low: 0))

    public static func < (a: Ballot, b: Ballot) -> Bool { (a.timestamp, a.node) < (b.timestamp, b.node) }

    public var description: String { self == .none ? "none" : "\(timestamp)@\(node)" }

    public func encode(into out: inout ByteWriter) {
        out.writeBE(timestamp)
        out.write(node)
    }

    /// The greatest timestamp of a ballot from outside, in microseconds: a proposer can always exceed it.
    static let largestTimestamp: Int64 = 1 << 62

    public init(from reader: inout ByteReader) throws(ByteError) {
        let start = reader.offset
        timestamp = try reader.readBE()
        guard timestamp <= Ballot.largestTimestamp else { throw .unexpected(offset: start, expected: "a ballot") }
        node = try reader.readUUID()
    }
}
