/// A division of the ring into equal, fixed partitions.
///
/// The last tokens of the partitions are `Int64.min + (i + 1) * width - 1 - shift`. Each data center uses its own
/// `shift`, so that every data center divides the whole ring among its own nodes with tokens of its own. Corresponding
/// ends of two data centers lie at most 1,023 tokens of 2^64 apart.
public struct TokenGrid: Hashable, Sendable {
    /// The number of partitions, a power of two so that all are exactly equal.
    public let count: Int
    /// How many tokens lower the partition ends lie; 0 for the first data center.
    public let shift: Int

    public static let countLimit = 1 << 16
    /// 256 partitions: with up to 25 nodes per data center each owns at least ten, and a table is split into at most as
    /// many files.
    public static let defaultCount = 256

    /// nil unless `count` is a power of two from 1 to `countLimit`, and `shift` at least 0 and less than 1,024.
    public init?(count: Int, shift: Int = 0) {
        guard count >= 1, count <= TokenGrid.countLimit, count & (count - 1) == 0, shift >= 0, shift < 1_024 else {
            return nil
        }
        self.count = count
        self.shift = shift
    }

    /// Returns the last token of partition `index`, 0 to `count - 1`.
    public func end(of index: Int) -> Int64 {
        precondition(index >= 0 && index < count, "partition \(index) of \(count)")
        // For the last partition the product wraps to 0, and subtracting 1 gives the greatest offset.
        let width: UInt64 = count == 1 ? 0 : 1 << UInt64(64 - count.trailingZeroBitCount)
        let offset = width &* UInt64(index + 1) &- 1 &- UInt64(shift)
        return Int64(bitPattern: offset ^ (1 << 63))
    }

    /// Returns the partition whose last token this is; nil when there is none.
    public func index(endingIn token: Int64) -> Int? {
        let offset = (UInt64(bitPattern: token) ^ (1 << 63)) &+ UInt64(shift) &+ 1
        if count == 1 { return offset == 0 ? 0 : nil }
        let bits = UInt64(64 - count.trailingZeroBitCount)
        guard offset & ((1 << bits) - 1) == 0 else { return nil }
        return (Int(offset >> bits) + count - 1) % count
    }

    /// Returns the partition that contains a token.
    public func index(of token: Int64) -> Int {
        let offset = (UInt64(bitPattern: token) ^ (1 << 63)) &+ UInt64(shift)
        return count == 1 ? 0 : Int(offset >> UInt64(64 - count.trailingZeroBitCount))
    }

    /// The last tokens of all partitions, ascending.
    public var ends: [Int64] { (0..<count).map { end(of: $0) }.sorted() }
}
