import DataModel

/// A closed range of tokens that does not wrap around the ring.
public typealias TokenSlice = ClosedRange<Int64>

extension ClosedRange where Bound == Int64 {
    /// The number of tokens, at most 2^64.
    var tokenCount: UInt128 { UInt128(UInt64(bitPattern: upperBound &- lowerBound)) + 1 }

    /// Returns part `index` of `count` parts whose sizes differ by at most one token.
    ///
    /// Splits by powers of two nest: part 1 of 2 begins where part 2 of 4 does.
    /// - Precondition: there are at least `count` tokens.
    public func part(_ index: Int, of count: Int) -> TokenSlice {
        precondition(
            index >= 0 && index < count && tokenCount >= UInt128(count), "part \(index) of \(count) of \(self)")
        func start(_ index: Int) -> UInt128 { (UInt128(index) * tokenCount + UInt128(count) - 1) / UInt128(count) }
        let first = UInt64(truncatingIfNeeded: start(index))
        let last = UInt64(truncatingIfNeeded: start(index + 1) - 1)
        return (lowerBound &+ Int64(bitPattern: first))...(lowerBound &+ Int64(bitPattern: last))
    }

    /// Returns the number of parts into which the slice can be split, up to `count`.
    public func partCount(atMost count: Int) -> Int { tokenCount < UInt128(count) ? Int(tokenCount) : count }

    /// The range of keys of all partitions with these tokens.
    public var keys: KeyRange {
        func bytes(_ token: Int64) -> [UInt8] {
            let flipped = UInt64(bitPattern: token) ^ (1 << 63)
            return (0..<8).map { UInt8(truncatingIfNeeded: flipped >> UInt64(56 - $0 * 8)) }
        }
        return KeyRange(
            start: lowerBound == .min ? [] : bytes(lowerBound),
            end: upperBound == .max ? KeyRange.all.end : bytes(upperBound + 1))
    }
}
