/// The ring cut into equal, fixed partitions.
///
/// The last tokens of the partitions are `Int64.min + (i + 1) * width - 1 - shift`. `shift` sets the data centers' grids apart by
/// one token each, so that every data center divides the whole ring among its own nodes; the sliver between two grids holds no
/// more than a few tokens of 2^64.
public struct TokenGrid: Hashable, Sendable {
    /// Q: a power of two, so that all partitions are equally wide to the token.
    public let count: Int
    /// Tokens by which the grid lies lower: 0 for the first data center.
    public let shift: Int

    public static let countLimit = 1 << 16
    /// 256 partitions: up to 25 nodes a data center have at least ten each, and a table is cut into no more files than that.
    public static let defaultCount = 256

    /// nil unless `count` is a power of two from 1 to `countLimit`, and `shift` at least 0 and less than 1,024.
    public init?(count: Int, shift: Int = 0) {
        guard count >= 1, count <= TokenGrid.countLimit, count & (count - 1) == 0, shift >= 0, shift < 1_024 else { return nil }
        self.count = count
        self.shift = shift
    }

    /// The last token of partition `index`, 0 to `count - 1`.
    public func end(of index: Int) -> Int64 {
        precondition(index >= 0 && index < count, "partition \(index) of \(count)")
        // The offset wraps to 2^64 for the last partition, and to `Int64.max` when 1 is taken off.
        let width: UInt64 = count == 1 ? 0 : 1 << UInt64(64 - count.trailingZeroBitCount)
        let offset = width &* UInt64(index + 1) &- 1 &- UInt64(shift)
        return Int64(bitPattern: offset ^ (1 << 63))
    }

    /// The partition that ends in this token, if one does.
    public func index(endingIn token: Int64) -> Int? {
        let offset = (UInt64(bitPattern: token) ^ (1 << 63)) &+ UInt64(shift) &+ 1
        if count == 1 { return offset == 0 ? 0 : nil }
        let bits = UInt64(64 - count.trailingZeroBitCount)
        guard offset & ((1 << bits) - 1) == 0 else { return nil }
        return (Int(offset >> bits) + count - 1) % count
    }

    /// The partition a token lies in.
    public func index(of token: Int64) -> Int {
        let offset = (UInt64(bitPattern: token) ^ (1 << 63)) &+ UInt64(shift)
        return count == 1 ? 0 : Int(offset >> UInt64(64 - count.trailingZeroBitCount))
    }

    /// The last tokens of all partitions, ascending.
    public var ends: [Int64] { (0..<count).map { end(of: $0) }.sorted() }
}
