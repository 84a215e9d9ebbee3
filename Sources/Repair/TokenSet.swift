import Messages
import Primitives

/// A set of tokens: ascending, non-overlapping slices. Adjacent slices are joined, so equal sets have equal slices.
public struct TokenSet: Sendable, Equatable {
    public private(set) var slices: [TokenSlice] = []

    public init() {}

    public var isEmpty: Bool { slices.isEmpty }

    /// Returns the index of the first slice that ends at `token` or later.
    private func firstIndex(endingFrom token: Int64) -> Int {
        var low = 0
        var high = slices.count
        while low < high {
            let middle = (low + high) / 2
            if slices[middle].upperBound < token { low = middle + 1 } else { high = middle }
        }
        return low
    }

    public mutating func insert(_ new: TokenSlice) {
        let first = firstIndex(endingFrom: new.lowerBound == .min ? .min : new.lowerBound - 1)
        var last = first
        var joined = new
        while last < slices.count, slices[last].lowerBound <= (new.upperBound == .max ? .max : new.upperBound + 1) {
            joined = min(joined.lowerBound, slices[last].lowerBound)...max(joined.upperBound, slices[last].upperBound)
            last += 1
        }
        slices.replaceSubrange(first..<last, with: [joined])
    }

    /// Returns the parts of `slice` that are not in the set.
    public func missing(of slice: TokenSlice) -> [TokenSlice] {
        var missing: [TokenSlice] = []
        var position = slice.lowerBound
        for done in slices[firstIndex(endingFrom: slice.lowerBound)...] {
            if done.lowerBound > slice.upperBound { break }
            if done.lowerBound > position { missing.append(position...(done.lowerBound - 1)) }
            if done.upperBound >= slice.upperBound { return missing }
            position = done.upperBound + 1
        }
        missing.append(position...slice.upperBound)
        return missing
    }

    func encode(into out: inout ByteWriter) {
        out.writeVarint(slices.count)
        for slice in slices {
            out.writeBE(slice.lowerBound)
            out.writeBE(slice.upperBound)
        }
    }

    init(from reader: inout ByteReader) throws(ByteError) {
        let count = try reader.readCount()
        for _ in 0..<count {
            let start = reader.offset
            let first: Int64 = try reader.readBE()
            let last: Int64 = try reader.readBE()
            guard first <= last, slices.last.map({ $0.upperBound < .max && $0.upperBound + 1 < first }) ?? true else {
                throw .malformedVarint(offset: start)
            }
            slices.append(first...last)
        }
    }
}
