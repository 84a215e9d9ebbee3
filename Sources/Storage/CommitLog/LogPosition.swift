/// A position in the commit log.
public struct LogPosition: Comparable, Sendable, Hashable {
    /// The segment's number. Numbers rise and are never reused.
    public var segment: UInt64
    /// The offset in the segment's file, in bytes.
    public var offset: Int

    public init(segment: UInt64, offset: Int) {
        self.segment = segment
        self.offset = offset
    }

    /// The greatest number that a file's name or content may state; greater ones follow it.
    static let largestSegment: UInt64 = 1 << 62

    public static let start = LogPosition(segment: 0, offset: 0)

    @inlinable public static func < (a: LogPosition, b: LogPosition) -> Bool {
        a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset
    }
}
