import Primitives

/// Sorted, non-overlapping range tombstones; where two overlap, the later deletion wins.
///
/// For the few tombstones of one read; memtables use `RangeTombstoneTree`.
public struct RangeDeletions: Sendable, Equatable {
    /// Sorted, without overlap; adjoining spans have different deletions.
    public private(set) var spans: [RangeTombstone] = []

    public init() {}

    public var isEmpty: Bool { spans.isEmpty }

    /// Adds a deletion; linear in the spans it overlaps.
    public mutating func add(_ new: RangeTombstone) {
        guard compareBytes(new.start, new.end) < 0, !new.deletion.isNone else { return }
        let first = firstIndex(endingAfter: new.start)
        var last = first
        var parts: [RangeTombstone] = []
        var position = new.start
        while last < spans.count, compareBytes(spans[last].start, new.end) < 0 {
            let old = spans[last]
            if compareBytes(old.start, position) < 0 {
                parts.append(RangeTombstone(start: old.start, end: position, deletion: old.deletion))
            } else if compareBytes(position, old.start) < 0 {
                parts.append(RangeTombstone(start: position, end: old.start, deletion: new.deletion))
                position = old.start
            }
            let stop = compareBytes(old.end, new.end) < 0 ? old.end : new.end
            parts.append(RangeTombstone(start: position, end: stop, deletion: old.deletion.latest(new.deletion)))
            if compareBytes(new.end, old.end) < 0 {
                parts.append(RangeTombstone(start: new.end, end: old.end, deletion: old.deletion))
            }
            position = stop
            last += 1
        }
        if compareBytes(position, new.end) < 0 {
            parts.append(RangeTombstone(start: position, end: new.end, deletion: new.deletion))
        }
        replace(first..<last, with: parts)
    }

    /// Replaces spans by `parts` and joins adjoining spans with the same deletion, so that equal deletions have equal
    /// spans in whatever order they were added.
    private mutating func replace(_ range: Range<Int>, with parts: [RangeTombstone]) {
        let from = max(0, range.lowerBound - 1)
        let to = min(spans.count, range.upperBound + 1)
        let all = Array(spans[from..<range.lowerBound]) + parts + Array(spans[range.upperBound..<to])
        var joined: [RangeTombstone] = []
        for part in all {
            if let last = joined.last, last.end == part.start, last.deletion == part.deletion {
                joined[joined.count - 1].end = part.end
            } else {
                joined.append(part)
            }
        }
        spans.replaceSubrange(from..<to, with: joined)
    }

    private func firstIndex(endingAfter key: [UInt8]) -> Int {
        key.withUnsafeBytes { firstIndex(endingAfter: $0) }
    }

    private func firstIndex(endingAfter key: UnsafeRawBufferPointer) -> Int {
        var low = 0
        var high = spans.count
        while low < high {
            let middle = (low + high) / 2
            if spans[middle].end.withUnsafeBytes({ compareBytes($0, key) <= 0 }) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    /// Returns the deletion that covers `key`.
    public func deletion(at key: UnsafeRawBufferPointer) -> DeletionTime {
        if spans.isEmpty { return .none }
        let index = firstIndex(endingAfter: key)
        guard index < spans.count, spans[index].start.withUnsafeBytes({ compareBytes($0, key) <= 0 }) else {
            return .none
        }
        return spans[index].deletion
    }

    /// Returns the parts of the deletions that lie in `range`.
    public func clipped(to range: KeyRange) -> RangeDeletions {
        var result = RangeDeletions()
        for span in spans[firstIndex(endingAfter: range.start)...] {
            guard compareBytes(span.start, range.end) < 0 else { break }
            let start = compareBytes(span.start, range.start) < 0 ? range.start : span.start
            let end = compareBytes(range.end, span.end) < 0 ? range.end : span.end
            if compareBytes(start, end) < 0 {
                result.spans.append(RangeTombstone(start: start, end: end, deletion: span.deletion))
            }
        }
        return result
    }

    /// Returns the sub-ranges in which these deletions win over `other`'s: what `other` lacks.
    public func lacking(in other: RangeDeletions) -> [RangeTombstone] {
        var missing: [RangeTombstone] = []
        for span in spans {
            var position = span.start
            var index = other.firstIndex(endingAfter: span.start)
            while index < other.spans.count, compareBytes(other.spans[index].start, span.end) < 0 {
                let theirs = other.spans[index]
                if compareBytes(position, theirs.start) < 0 {
                    missing.append(RangeTombstone(start: position, end: theirs.start, deletion: span.deletion))
                    position = theirs.start
                }
                let stop = compareBytes(theirs.end, span.end) < 0 ? theirs.end : span.end
                if span.deletion.supersedes(theirs.deletion) {
                    missing.append(RangeTombstone(start: position, end: stop, deletion: span.deletion))
                }
                position = stop
                index += 1
            }
            if compareBytes(position, span.end) < 0 {
                missing.append(RangeTombstone(start: position, end: span.end, deletion: span.deletion))
            }
        }
        return missing
    }
}
