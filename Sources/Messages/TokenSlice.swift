import DataModel

/// Tokens from the lowest through the highest, both in it; it does not pass the end of the ring.
public typealias TokenSlice = ClosedRange<Int64>

extension ClosedRange where Bound == Int64 {
    /// How many tokens it has, at most 2^64.
    var tokenCount: UInt128 { UInt128(UInt64(bitPattern: upperBound &- lowerBound)) + 1 }

    /// Part `index` of `count` parts that are equal but for one token.
    ///
    /// Parts of parts by powers of two are those of the whole: part 1 of 2 begins where part 2 of 4 does.
    /// - Precondition: there are at least `count` tokens.
    public func part(_ index: Int, of count: Int) -> TokenSlice {
        precondition(index >= 0 && index < count && tokenCount >= UInt128(count), "part \(index) of \(count) of \(self)")
        func start(_ index: Int) -> UInt128 { (UInt128(index) * tokenCount + UInt128(count) - 1) / UInt128(count) }
        let first = UInt64(truncatingIfNeeded: start(index))
        let last = UInt64(truncatingIfNeeded: start(index + 1) - 1)
        return (lowerBound &+ Int64(bitPattern: first))...(lowerBound &+ Int64(bitPattern: last))
    }

    /// Into how many parts it can be cut, up to `count`.
    public func partCount(atMost count: Int) -> Int { tokenCount < UInt128(count) ? Int(tokenCount) : count }

    /// The keys of all partitions with these tokens.
    public var keys: KeyRange {
        func bytes(_ token: Int64) -> [UInt8] {
            let flipped = UInt64(bitPattern: token) ^ (1 << 63)
            return (0..<8).map { UInt8(truncatingIfNeeded: flipped >> UInt64(56 - $0 * 8)) }
        }
        return KeyRange(
            start: lowerBound == .min ? [] : bytes(lowerBound), end: upperBound == .max ? KeyRange.all.end : bytes(upperBound + 1))
    }
}
