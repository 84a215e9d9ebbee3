import DataModel

/// An ordered map from keys to records: a B+tree with fanout 64 whose nodes hold key prefixes.
///
/// 1. A search compares 8-byte prefixes inside the node and reads a record only when they tie: about one cache miss per
///    level.
/// 2. When all keys of a node share their first bytes (rows of one partition), the prefixes are taken after the shared
///    bytes.
/// 3. A full leaf splits in the middle. If the new key is appended at its end, the leaf stays full instead, so that
///    sequential inserts fill the leaves.
/// 4. A key above all others goes straight into the last leaf while that has space.
///
/// Entries are never removed; a record is replaced by a new one.
/// **Thread safety**: one thread at a time; any thread may read a found record as long as the arena lives.
struct BTree {
    private var root: BTreeNode?
    private var first: BTreeNode?
    private var last: BTreeNode?
    private(set) var count = 0

    /// The place of an entry in a leaf.
    struct Place {
        var leaf: BTreeNode
        var index: Int
    }

    /// Returns the record with exactly this key.
    @inline(__always) func find(_ key: UnsafeRawBufferPointer) -> Record? {
        guard var node = root else { return nil }
        while node.level > 0 { node = node.child(node.childIndex(key)) }
        let (index, found) = node.lowerBound(key, from: 0)
        return found ? node.record(index) : nil
    }

    /// Returns the first place whose key is not below `key`; nil past the end.
    func lowerBound(_ key: UnsafeRawBufferPointer) -> Place? {
        guard var node = root else { return nil }
        while node.level > 0 { node = node.child(node.childIndex(key)) }
        let index = node.lowerBound(key, from: 0).index
        if index < node.count { return Place(leaf: node, index: index) }
        guard let next = node.next else { return nil }
        return Place(leaf: next, index: 0)
    }

    /// Returns the last place whose key is below `key`; nil before the start.
    func before(_ key: UnsafeRawBufferPointer) -> Place? {
        guard var node = root else { return nil }
        while node.level > 0 { node = node.child(node.childIndex(key)) }
        let index = node.lowerBound(key, from: 0).index
        if index > 0 { return Place(leaf: node, index: index - 1) }
        guard let previous = node.previous else { return nil }
        return Place(leaf: previous, index: previous.count - 1)
    }

    /// Returns the last place whose key is not above `key`; nil before the start.
    func floor(_ key: UnsafeRawBufferPointer) -> Place? {
        guard var node = root else { return nil }
        while node.level > 0 { node = node.child(node.childIndex(key)) }
        let (index, found) = node.lowerBound(key, from: 0)
        if found { return Place(leaf: node, index: index) }
        if index > 0 { return Place(leaf: node, index: index - 1) }
        guard let previous = node.previous else { return nil }
        return Place(leaf: previous, index: previous.count - 1)
    }

    func record(_ place: Place) -> Record { place.leaf.record(place.index) }

    func after(_ place: Place) -> Place? {
        if place.index + 1 < place.leaf.count { return Place(leaf: place.leaf, index: place.index + 1) }
        return place.leaf.next.map { Place(leaf: $0, index: 0) }
    }

    func before(_ place: Place) -> Place? {
        if place.index > 0 { return Place(leaf: place.leaf, index: place.index - 1) }
        return place.leaf.previous.map { Place(leaf: $0, index: $0.count - 1) }
    }

    /// Inserts `make(nil)` for a new key, or replaces the existing record by `make(record)`. When `make` returns nil,
    /// nothing changes.
    @inline(__always) mutating func upsert(_ key: UnsafeRawBufferPointer, in arena: Arena, _ make: (Record?) -> Record?)
    {
        guard var node = root else {
            guard let record = make(nil) else { return }
            let leaf = BTreeNode.make(level: 0, in: arena)
            leaf.insert(record.address, key: record, at: 0)
            root = leaf
            first = leaf
            last = leaf
            count = 1
            return
        }
        if let last, last.count < BTreeNode.fanout, compareBytes(last.record(last.count - 1).key, key) < 0 {
            guard let record = make(nil) else { return }
            last.insert(record.address, key: record, at: last.count)
            count += 1
            return
        }
        while node.level > 0 { node = node.child(node.childIndex(key)) }
        let (index, found) = node.lowerBound(key, from: 0)
        if found {
            if let record = make(node.record(index)) { node.replaceRecord(index, with: record) }
            return
        }
        guard let record = make(nil) else { return }
        count += 1
        if node.count < BTreeNode.fanout {
            node.insert(record.address, key: record, at: index)
        } else {
            insertSplitting(record, in: arena)
        }
    }

    /// Inserts a record whose leaf is full: descends again, remembering the path.
    private mutating func insertSplitting(_ record: Record, in arena: Arena) {
        var path: [(node: BTreeNode, index: Int)] = []
        guard var node = root else { return }
        let key = record.key
        while node.level > 0 {
            let index = node.childIndex(key)
            path.append((node, index))
            node = node.child(index)
        }
        let index = node.lowerBound(key, from: 0).index
        var left = node
        var right = BTreeNode.make(level: 0, in: arena)
        let isAppend = index == left.count && left.next == nil
        right.next = left.next
        right.previous = left
        left.next?.previous = right
        left.next = right
        if right.next == nil { last = right }
        if isAppend {
            right.insert(record.address, key: record, at: 0)
        } else {
            let middle = BTreeNode.fanout / 2
            left.split(at: middle, into: right)
            if index <= middle {
                left.insert(record.address, key: record, at: index)
            } else {
                right.insert(record.address, key: record, at: index - middle)
            }
        }
        // Insert the new right node into its parent, splitting parents that are full.
        var separator = right.record(0)
        while let (parent, childIndex) = path.popLast() {
            if parent.count < BTreeNode.fanout {
                parent.insert(right.address, key: separator, at: childIndex + 1)
                return
            }
            let sibling = BTreeNode.make(level: parent.level, in: arena)
            let middle = childIndex + 1 == parent.count ? parent.count - 1 : BTreeNode.fanout / 2
            let middleKey = parent.keyRecord(middle)
            parent.split(at: middle, into: sibling)
            if childIndex + 1 <= middle && childIndex + 1 <= parent.count {
                parent.insert(right.address, key: separator, at: childIndex + 1)
            } else {
                sibling.insert(right.address, key: separator, at: childIndex + 1 - middle)
            }
            left = parent
            right = sibling
            separator = middleKey
        }
        let top = BTreeNode.make(level: left.level + 1, in: arena)
        guard let oldRoot = root else { return }
        top.insert(oldRoot.address, key: separator, at: 0)
        top.insert(right.address, key: separator, at: 1)
        root = top
    }

    /// Checks order, links and prefixes; for tests.
    func checkInvariants() {
        var seen = 0
        var leaf = first
        var last: Record?
        while let node = leaf {
            precondition(node.level == 0 && node.count > 0, "an empty leaf")
            for index in 0..<node.count {
                let record = node.record(index)
                if let last { precondition(compareBytes(last.key, record.key) < 0, "keys out of order") }
                precondition(find(record.key)?.address == record.address, "a key that is there is not found")
                last = record
                seen += 1
            }
            if let next = node.next {
                precondition(next.previous?.address == node.address, "leaves not linked both ways")
            }
            if node.next == nil { precondition(node.address == self.last?.address, "the last leaf is another") }
            leaf = node.next
        }
        precondition(seen == count, "\(seen) entries in the leaves, \(count) counted")
    }
}
