import DataModel
import Primitives

/// Sorted, non-overlapping range tombstones: an ordered map from start key to deletion and end key.
///
/// Overlapping tombstones are split at their ends, and the later deletion wins on each sub-range.
/// **Thread safety**: one thread at a time.
struct RangeTombstoneTree {
    private var tree = BTree()

    var isEmpty: Bool { tree.count == 0 }

    mutating func add(_ tombstone: RangeTombstone, in arena: Arena) {
        guard compareBytes(tombstone.start, tombstone.end) < 0 else { return }
        let overlapping = overlapping(tombstone.start, tombstone.end)
        var position = tombstone.start
        for old in overlapping {
            if compareBytes(old.start, position) < 0 {
                put(RangeTombstone(start: old.start, end: position, deletion: old.deletion), in: arena)
            } else if compareBytes(position, old.start) < 0 {
                put(RangeTombstone(start: position, end: old.start, deletion: tombstone.deletion), in: arena)
                position = old.start
            }
            let stop = compareBytes(old.end, tombstone.end) < 0 ? old.end : tombstone.end
            put(
                RangeTombstone(start: position, end: stop, deletion: old.deletion.latest(tombstone.deletion)), in: arena
            )
            if compareBytes(tombstone.end, old.end) < 0 {
                put(RangeTombstone(start: tombstone.end, end: old.end, deletion: old.deletion), in: arena)
            }
            position = stop
        }
        if compareBytes(position, tombstone.end) < 0 {
            put(RangeTombstone(start: position, end: tombstone.end, deletion: tombstone.deletion), in: arena)
        }
    }

    private mutating func put(_ tombstone: RangeTombstone, in arena: Arena) {
        let value = tombstone.encodedValue
        tombstone.start.withUnsafeBytes { start in
            value.withUnsafeBytes { value in
                tree.upsert(start, in: arena) { _ in Record.make(key: start, value: value, in: arena) }
            }
        }
    }

    private static func tombstone(_ record: Record) -> RangeTombstone? {
        RangeTombstone.decode(record.value).map {
            RangeTombstone(start: [UInt8](record.key), end: [UInt8]($0.end), deletion: $0.deletion)
        }
    }

    /// Returns the tombstones that overlap `start ..< end`, in order.
    func overlapping(_ start: [UInt8], _ end: [UInt8]) -> [RangeTombstone] {
        var found: [RangeTombstone] = []
        var place = start.withUnsafeBytes { start in tree.floor(start) ?? tree.lowerBound(start) }
        while let here = place {
            guard let tombstone = RangeTombstoneTree.tombstone(tree.record(here)),
                compareBytes(tombstone.start, end) < 0
            else { break }
            if compareBytes(tombstone.end, start) > 0 { found.append(tombstone) }
            place = tree.after(here)
        }
        return found
    }

    /// Returns all tombstones in order.
    func all() -> [RangeTombstone] {
        var found: [RangeTombstone] = []
        var place = tree.lowerBound(UnsafeRawBufferPointer(start: nil, count: 0))
        while let here = place {
            if let tombstone = RangeTombstoneTree.tombstone(tree.record(here)) { found.append(tombstone) }
            place = tree.after(here)
        }
        return found
    }

    /// Returns the deletion that covers `key`.
    @inline(__always) func deletion(at key: UnsafeRawBufferPointer) -> DeletionTime {
        guard tree.count > 0, let place = tree.floor(key),
            let (end, deletion) = RangeTombstone.decode(tree.record(place).value),
            compareBytes(key, end) < 0
        else { return .none }
        return deletion
    }

    /// Returns the deletion that covers `key`, and the key range around it in which that holds.
    func shadow(at key: UnsafeRawBufferPointer) -> CoveringDeletion {
        guard tree.count > 0 else { return .nothing }
        var shadow = CoveringDeletion()
        let floor = tree.floor(key)
        if let floor, let (end, deletion) = RangeTombstone.decode(tree.record(floor).value) {
            if compareBytes(key, end) < 0 {
                shadow.deletion = deletion
                shadow.from = [UInt8](tree.record(floor).key)
                shadow.to = [UInt8](end)
                return shadow
            }
            shadow.from = [UInt8](end)
        }
        if let next = floor.map({ tree.after($0) }) ?? tree.lowerBound(key) {
            shadow.to = [UInt8](tree.record(next).key)
        }
        return shadow
    }
}
