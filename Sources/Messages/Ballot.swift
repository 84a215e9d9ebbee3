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

    public init(from reader: inout ByteReader) throws(ByteError) {
        timestamp = try reader.readBE()
        node = try reader.readUUID()
    }
}
