import DataModel
import Primitives

/// The identity of a logged batch: its creation time and a unique id.
public struct BatchKey: Sendable, Hashable, Comparable {
    /// Microseconds since 1970 by the coordinator's clock; greater than 0.
    public var created: Int64
    public var id: UUID

    public init(created: Int64, id: UUID) {
        self.created = created
        self.id = id
    }

    public static func < (a: BatchKey, b: BatchKey) -> Bool { (a.created, a.id) < (b.created, b.id) }

    func encode(into out: inout ByteWriter) {
        out.writeBE(created)
        out.write(id)
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        created = try reader.readBE()
        guard created > 0 else { throw .malformedVarint(offset: reader.offset - 8) }
        id = try reader.readUUID()
    }
}

/// A logged batch as a node's batchlog stores it: everything needed to apply it without its coordinator.
public struct LoggedBatch: Sendable, Equatable {
    public var key: BatchKey
    /// Whole encoded mutations, including their timestamps.
    public var mutations: [UInt8]

    public init(key: BatchKey, mutations: [UInt8]) {
        self.key = key
        self.mutations = mutations
    }

    /// Returns whether the batch is older than the tables' grace period, so that applying it could resurrect deleted
    /// rows.
    /// - Parameters:
    ///   - now: microseconds since 1970.
    ///   - graceSeconds: the smallest `gc_grace_seconds` of the tables it changes.
    public func hasExpired(now: Int64, graceSeconds: UInt32) -> Bool {
        (now - key.created) / 1_000_000 >= Int64(graceSeconds)
    }
}
