/// The tokens in `(after, through]` on a ring that wraps from `Int64.max` to `Int64.min`.
public struct TokenRange: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The exclusive start.
    public let after: Int64
    /// The inclusive end.
    public let through: Int64

    /// Creates a range; the whole ring when both are equal.
    public init(after: Int64, through: Int64) {
        self.after = after
        self.through = through
    }

    /// Whether the range wraps past `Int64.max` or is the whole ring.
    public var wraps: Bool { after >= through }
    public var isWholeRing: Bool { after == through }

    @inlinable public func contains(_ token: Int64) -> Bool {
        after < through ? token > after && token <= through : token > after || token <= through
    }

    /// The range's fraction of the ring, above 0 and at most 1.
    public var fraction: Double {
        isWholeRing ? 1 : Double(UInt64(bitPattern: through &- after)) / 18_446_744_073_709_551_616
    }

    /// The range as one or two closed ranges that do not wrap, ascending.
    public var slices: [ClosedRange<Int64>] {
        if after < through { return [(after + 1)...through] }
        if isWholeRing { return [Int64.min...Int64.max] }
        return after == Int64.max ? [Int64.min...through] : [Int64.min...through, (after + 1)...Int64.max]
    }

    public static func < (a: TokenRange, b: TokenRange) -> Bool {
        a.through != b.through ? a.through < b.through : a.after < b.after
    }

    public var description: String { "(\(after), \(through)]" }
}
