import DataModel

/// A node of `BTree`, in raw memory of its arena.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 4 | entries |
/// | 4 | 4 | level, 0 for a leaf |
/// | 8 | 4 | skip: bytes all keys of the node share, when at least 8; else 0 |
/// | 16, 24 | 8 + 8 | next and previous leaf |
/// | 32 | 64 * 8 | prefixes: the 8 bytes of each key after `skip`, big-endian, zeros past its end |
/// | 544 | 64 * 8 | leaf: records; inner: children |
/// | 1056 | 64 * 8 | inner: the records whose keys separate the children; the first is never compared |
///
/// SAFETY: valid as long as the arena; changed only by the thread that holds the tree's lock.
struct BTreeNode {
    static let fanout = 64
    private static let prefixesAt = 32
    private static let refsAt = prefixesAt + fanout * 8
    private static let separatorsAt = refsAt + fanout * 8
    static let leafBytes = separatorsAt
    static let innerBytes = separatorsAt + fanout * 8

    let address: UnsafeMutableRawPointer

    @inline(__always) init(_ address: UnsafeMutableRawPointer) { self.address = address }

    static func make(level: Int, in arena: Arena) -> BTreeNode {
        let node = BTreeNode(arena.allocate(level == 0 ? leafBytes : innerBytes))
        node.count = 0
        node.address.storeBytes(of: UInt32(level), toByteOffset: 4, as: UInt32.self)
        node.skip = 0
        node.next = nil
        node.previous = nil
        return node
    }

    @inline(__always) var count: Int {
        get { Int(address.load(as: UInt32.self)) }
        nonmutating set { address.storeBytes(of: UInt32(newValue), as: UInt32.self) }
    }
    @inline(__always) var level: Int { Int(address.load(fromByteOffset: 4, as: UInt32.self)) }
    @inline(__always) var skip: Int {
        get { Int(address.load(fromByteOffset: 8, as: UInt32.self)) }
        nonmutating set { address.storeBytes(of: UInt32(newValue), toByteOffset: 8, as: UInt32.self) }
    }
    @inline(__always) var next: BTreeNode? {
        get { address.load(fromByteOffset: 16, as: UnsafeMutableRawPointer?.self).map { BTreeNode($0) } }
        nonmutating set {
            address.storeBytes(of: newValue?.address, toByteOffset: 16, as: UnsafeMutableRawPointer?.self)
        }
    }
    @inline(__always) var previous: BTreeNode? {
        get { address.load(fromByteOffset: 24, as: UnsafeMutableRawPointer?.self).map { BTreeNode($0) } }
        nonmutating set {
            address.storeBytes(of: newValue?.address, toByteOffset: 24, as: UnsafeMutableRawPointer?.self)
        }
    }

    @inline(__always) private var prefixes: UnsafeMutablePointer<UInt64> {
        (address + BTreeNode.prefixesAt).assumingMemoryBound(to: UInt64.self)
    }
    @inline(__always) private var refs: UnsafeMutablePointer<UnsafeMutableRawPointer> {
        (address + BTreeNode.refsAt).assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    }
    @inline(__always) private var separators: UnsafeMutablePointer<UnsafeMutableRawPointer> {
        (address + BTreeNode.separatorsAt).assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    }

    @inline(__always) func record(_ index: Int) -> Record { Record(refs[index]) }
    @inline(__always) func child(_ index: Int) -> BTreeNode { BTreeNode(refs[index]) }
    /// The record with the key at `index`: of a leaf the entry itself, of an inner node the separator.
    @inline(__always) func keyRecord(_ index: Int) -> Record {
        level == 0 ? Record(refs[index]) : Record(separators[index])
    }
    @inline(__always) func replaceRecord(_ index: Int, with record: Record) { refs[index] = record.address }

    /// Returns the index of the first entry at or after `from` whose key is not below `key`, and whether it equals
    /// `key`.
    @inline(__always) func lowerBound(_ key: UnsafeRawBufferPointer, from: Int) -> (index: Int, found: Bool) {
        let count = count
        guard count > from else { return (from, false) }
        let skip = skip
        if skip > 0 {
            let shared = keyRecord(from).key
            let order = compareBytes(
                UnsafeRawBufferPointer(rebasing: key[..<min(key.count, skip)]),
                UnsafeRawBufferPointer(rebasing: shared[..<skip]))
            if order < 0 { return (from, false) }
            if order > 0 { return (count, false) }
        }
        let wanted = keyPrefixWord(key, skip: skip)
        let prefixes = prefixes
        var low = from
        var high = count
        while low < high {
            let middle = (low + high) >> 1
            if prefixes[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        // Entries with equal prefixes are adjacent; compare whole keys among them.
        if low == count || prefixes[low] != wanted { return (low, false) }
        var top = low + 1
        while top < count && prefixes[top] == wanted { top += 1 }
        while low < top {
            let middle = (low + top) >> 1
            let order = compareBytes(keyRecord(middle).key, key)
            if order == 0 { return (middle, true) }
            if order < 0 { low = middle + 1 } else { top = middle }
        }
        return (low, false)
    }

    /// Returns the index of the child that covers `key`.
    @inline(__always) func childIndex(_ key: UnsafeRawBufferPointer) -> Int {
        let (index, found) = lowerBound(key, from: 1)
        return found ? index : index - 1
    }

    /// Inserts an entry at `index`, moving later entries. The node must have space.
    func insert(_ reference: UnsafeMutableRawPointer, key record: Record, at index: Int) {
        let count = count
        precondition(count < BTreeNode.fanout && index <= count, "an entry at \(index) of \(count)")
        let isInner = level > 0
        let moved = count - index
        if moved > 0 {
            (prefixes + index + 1).update(from: prefixes + index, count: moved)
            (refs + index + 1).update(from: refs + index, count: moved)
            if isInner { (separators + index + 1).update(from: separators + index, count: moved) }
        }
        refs[index] = reference
        if isInner { separators[index] = record.address }
        self.count = count + 1
        let first = isInner ? 1 : 0
        if count == first {
            // For a single key `skip` is its whole length. The next key shares less and recomputes the prefixes.
            refreshPrefixes()
            return
        }
        let skip = skip
        if skip > 0 && index >= first {
            // Recompute the prefixes when the new key does not share the skipped bytes.
            let neighbour = keyRecord(index == first ? min(first + 1, count) : first).key
            let key = record.key
            if key.count < skip
                || compareBytes(
                    UnsafeRawBufferPointer(rebasing: key[..<skip]), UnsafeRawBufferPointer(rebasing: neighbour[..<skip])
                ) != 0
            {
                refreshPrefixes()
                return
            }
        }
        prefixes[index] = index < first ? 0 : keyPrefixWord(record.key, skip: skip)
    }

    /// Recomputes the shared length and all prefixes.
    func refreshPrefixes() {
        let first = level > 0 ? 1 : 0
        let count = count
        guard count > first else {
            skip = 0
            return
        }
        let low = keyRecord(first).key
        let high = keyRecord(count - 1).key
        var shared = 0
        let most = min(low.count, high.count)
        while shared < most && low[shared] == high[shared] { shared += 1 }
        skip = shared >= 8 ? shared : 0
        let skip = skip
        if first == 1 { prefixes[0] = 0 }
        for index in first..<count { prefixes[index] = keyPrefixWord(keyRecord(index).key, skip: skip) }
    }

    /// Moves the entries from `at` on into `right`, an empty node of the same level.
    func split(at: Int, into right: BTreeNode) {
        let moved = count - at
        right.refs.update(from: refs + at, count: moved)
        if level > 0 { right.separators.update(from: separators + at, count: moved) }
        right.count = moved
        count = at
        refreshPrefixes()
        right.refreshPrefixes()
    }
}
