import DataModel
import Primitives

/// Names a logged batch: when its coordinator began it, and which of those it is.
public struct BatchKey: Sendable, Hashable, Comparable {
    /// Microseconds since 1970, by the clock of the coordinator; greater than 0.
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

/// A logged batch as the batchlog of a node keeps it: all that is needed to apply it without its coordinator.
public struct LoggedBatch: Sendable, Equatable {
    public var key: BatchKey
    /// Whole encoded mutations, with their timestamps.
    public var mutations: [UInt8]

    public init(key: BatchKey, mutations: [UInt8]) {
        self.key = key
        self.mutations = mutations
    }

    /// Whether it is older than what its tables keep of deletions, so that it could bring deleted rows back.
    /// - Parameters:
    ///   - now: microseconds since 1970.
    ///   - graceSeconds: the smallest `gc_grace_seconds` of the tables it changes.
    public func hasExpired(now: Int64, graceSeconds: UInt32) -> Bool {
        (now - key.created) / 1_000_000 >= Int64(graceSeconds)
    }
}
