import DataModel
import Primitives

extension RangeTombstone {
    /// The value of the entry in a tombstones block: timestamp (8), local deletion (4), end key.
    var encodedValue: [UInt8] {
        var out = ByteWriter(capacity: end.count + 12)
        out.writeLE(deletion.timestamp)
        out.writeLE(deletion.localDeletion)
        out.write(end)
        return out.toArray()
    }

    /// Decodes an entry's value; nil when it is too short.
    static func decode(_ value: UnsafeRawBufferPointer) -> (end: UnsafeRawBufferPointer, deletion: DeletionTime)? {
        guard value.count >= 12 else { return nil }
        let deletion = DeletionTime(
            timestamp: Int64(littleEndian: value.loadUnaligned(as: Int64.self)),
            localDeletion: UInt32(littleEndian: value.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
        return (UnsafeRawBufferPointer(rebasing: value[12...]), deletion)
    }
}

/// The deletion that covers a key, and the key range in which it stays the same.
struct CoveringDeletion {
    var deletion = DeletionTime.none
    /// The inclusive start of the range; nil: unbounded.
    var from: [UInt8]?
    /// The exclusive end of the range; nil: unbounded.
    var to: [UInt8]?

    static let nothing = CoveringDeletion()

    /// Keeps the later deletion and intersects the ranges.
    mutating func join(_ other: CoveringDeletion) {
        deletion = deletion.latest(other.deletion)
        if let otherFrom = other.from, from.map({ compareBytes($0, otherFrom) < 0 }) ?? true { from = otherFrom }
        if let otherTo = other.to, to.map({ compareBytes($0, otherTo) > 0 }) ?? true { to = otherTo }
    }

    @inline(__always) func covers(_ key: UnsafeRawBufferPointer) -> Bool {
        if let from, from.withUnsafeBytes({ compareBytes($0, key) > 0 }) { return false }
        if let to, to.withUnsafeBytes({ compareBytes($0, key) <= 0 }) { return false }
        return true
    }
}
