/// A place in the commit log.
public struct LogPosition: Comparable, Sendable, Hashable {
    /// Number of the segment; rises, never used again.
    public var segment: UInt64
    /// Bytes from the segment's start.
    public var offset: Int

    public init(segment: UInt64, offset: Int) {
        self.segment = segment
        self.offset = offset
    }

    public static let start = LogPosition(segment: 0, offset: 0)

    @inlinable public static func < (a: LogPosition, b: LogPosition) -> Bool {
        a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset
    }
}
