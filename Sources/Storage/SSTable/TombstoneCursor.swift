import DataModel
import Primitives

/// A position at a range tombstone of an sstable, or at none.
///
/// Tombstones are stored in blocks of bounded size under a two-level index; each index entry has the first start key of
/// the block it points to:
///
/// 1. The tombstone that may cover a key is the last one that does not start above it (the floor).
/// 2. The floor in the root leads to the index block, the floor there to the tombstones block, the floor there is the
///    tombstone. If the root has a floor, the lower levels have one too.
///
/// The root is in memory; other blocks come through the block cache, or past it for a compaction. The cursor holds the
/// blocks it is in.
/// **Thread safety**: one thread at a time.
/// SAFETY: `start` is valid until the cursor moves.
final class TombstoneCursor {
    private let table: SSTable
    private let isBulk: Bool
    private let root = BlockCursor()
    private let index = BlockCursor()
    private let leaf = BlockCursor()
    private var indexHandle: BlockHandle?
    private var leafHandle: BlockHandle?

    /// - Parameter isBulk: whether to read blocks past the cache.
    init(_ table: SSTable, isBulk: Bool) {
        self.table = table
        self.isBulk = isBulk
        if let block = table.tombstones { root.open(block) }
    }

    /// The start key of the current tombstone.
    var start: UnsafeRawBufferPointer { leaf.key }

    /// Decodes the current tombstone.
    func tombstone() throws(StorageError) -> RangeTombstone {
        let (end, deletion) = try table.tombstone(leaf.value)
        return RangeTombstone(start: [UInt8](leaf.key), end: [UInt8](end), deletion: deletion)
    }

    /// Moves to the first tombstone; false when there is none.
    func seekToFirst() throws(StorageError) -> Bool {
        guard root.seekToFirst() else { return false }
        try openIndex()
        guard index.seekToFirst() else { return false }
        try openLeaf()
        return leaf.seekToFirst()
    }

    /// Moves to the last tombstone that does not start above `key`, or else to the first; false when there is none.
    func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) -> Bool {
        guard root.seekFloor(key) else { return try seekToFirst() }
        try openIndex()
        guard index.seekFloor(key) else { return try seekToFirst() }
        try openLeaf()
        return try leaf.seekFloor(key) ? true : seekToFirst()
    }

    /// Moves to the next tombstone; false past the last.
    func advance() throws(StorageError) -> Bool {
        if leaf.advance() { return true }
        if !index.advance() {
            guard root.advance() else { return false }
            try openIndex()
            guard index.seekToFirst() else { return false }
        }
        try openLeaf()
        return leaf.seekToFirst()
    }

    /// Returns the deletion that covers `key`, and the key range around it in which that holds.
    func shadow(at key: UnsafeRawBufferPointer) throws(StorageError) -> CoveringDeletion {
        var shadow = CoveringDeletion()
        guard root.seekFloor(key) else {
            if root.seekToFirst() { shadow.to = [UInt8](root.key) }
            return shadow
        }
        try openIndex()
        guard index.seekFloor(key) else { return shadow }
        try openLeaf()
        guard leaf.seekFloor(key) else { return shadow }
        let (end, deletion) = try table.tombstone(leaf.value)
        if compareBytes(key, end) < 0 {
            shadow.deletion = deletion
            shadow.from = [UInt8](leaf.key)
            shadow.to = [UInt8](end)
            return shadow
        }
        shadow.from = [UInt8](end)
        // The start of the next tombstone; if that is in another block, the index has it.
        if leaf.advance() {
            shadow.to = [UInt8](leaf.key)
        } else if index.advance() {
            shadow.to = [UInt8](index.key)
        } else if root.advance() {
            shadow.to = [UInt8](root.key)
        }
        return shadow
    }

    private func openIndex() throws(StorageError) {
        let handle = try table.handle(root.value)
        if handle == indexHandle { return }
        index.open(try table.block(handle, isBulk: isBulk))
        indexHandle = handle
    }

    private func openLeaf() throws(StorageError) {
        let handle = try table.handle(index.value)
        if handle == leafHandle { return }
        leaf.open(try table.block(handle, isBulk: isBulk))
        leafHandle = handle
    }
}

extension SSTable {
    /// Returns the range deletion that covers `key`.
    /// - Parameter hash: `BloomFilter.hash` of the key's partition. The filter has the partitions of range tombstones
    ///   too.
    func deletion(at key: UnsafeRawBufferPointer, hash: UInt64) throws(StorageError) -> DeletionTime {
        guard let tombstones, filter.mayContain(hash) else { return .none }
        let cursor = BlockCursor()
        cursor.open(tombstones)
        guard cursor.seekFloor(key) else { return .none }
        cursor.open(try block(try handle(cursor.value)))
        guard cursor.seekFloor(key) else { return .none }
        cursor.open(try block(try handle(cursor.value)))
        guard cursor.seekFloor(key) else { return .none }
        let (end, deletion) = try tombstone(cursor.value)
        return compareBytes(key, end) < 0 ? deletion : .none
    }

    /// Returns whether a range tombstone starts between `lower` and `upper`, both included.
    func hasTombstone(
        from lower: UnsafeRawBufferPointer, to upper: UnsafeRawBufferPointer
    ) throws(StorageError) -> Bool {
        guard let tombstones else { return false }
        let cursor = BlockCursor()
        cursor.open(tombstones)
        guard cursor.seekFloor(upper) else { return false }
        cursor.open(try block(try handle(cursor.value)))
        guard cursor.seekFloor(upper) else { return false }
        cursor.open(try block(try handle(cursor.value)))
        return cursor.seekFloor(upper) && compareBytes(lower, cursor.key) <= 0
    }

    /// Returns a block through the cache, or past it.
    func block(_ handle: BlockHandle, isBulk: Bool) throws(StorageError) -> Block {
        isBulk ? try SSTable.readBlock(file, handle, size: fileBytes) : try block(handle)
    }

    /// Decodes the value of a tombstone's entry.
    fileprivate func tombstone(_ value: UnsafeRawBufferPointer) throws(StorageError) -> (
        end: UnsafeRawBufferPointer, deletion: DeletionTime
    ) {
        guard let parts = RangeTombstone.decode(value) else {
            throw .damaged(path: path, offset: 0, "a range tombstone of \(value.count) bytes is too short")
        }
        return parts
    }
}
