/// The time of a deletion: it deletes everything with a timestamp up to and including `timestamp`.
public struct DeletionTime: Equatable, Sendable {
    /// Microseconds since 1970, as write timestamps.
    public var timestamp: Int64
    /// Seconds since 1970 by the clock of the node that coordinated the deletion; `gc_grace_seconds` counts from here.
    public var localDeletion: UInt32

    @inlinable public init(timestamp: Int64, localDeletion: UInt32) {
        self.timestamp = timestamp
        self.localDeletion = localDeletion
    }

    /// No deletion.
    public static let none = DeletionTime(timestamp: .min, localDeletion: .max)

    @inlinable public var isNone: Bool { timestamp == .min }
    /// Whether this deletes a write with timestamp `time`.
    @inlinable public func shadows(_ time: Int64) -> Bool { timestamp != .min && time <= timestamp }
    /// Whether this deletion wins over `other`.
    @inlinable public func supersedes(_ other: DeletionTime) -> Bool {
        timestamp != other.timestamp ? timestamp > other.timestamp : !isNone && localDeletion > other.localDeletion
    }
    @inlinable public func latest(_ other: DeletionTime) -> DeletionTime { supersedes(other) ? self : other }
}
