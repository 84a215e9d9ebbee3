import DataModel
import Primitives

/// Builds the two index levels over a sequence of blocks: index blocks of bounded size, and a root over them.
struct IndexWriter: ~Copyable {
    /// Which key of an index block the root has for it.
    enum RootKey { case first, last }

    private let rootKey: RootKey
    private var block = BlockWriter(capacity: SSTableFormat.indexBlockBytes)
    private var firstKey: [UInt8] = []
    /// Full index blocks, written after the blocks they point to.
    private var full: [(key: [UInt8], bytes: [UInt8])] = []
    private var handleBytes = ByteWriter(capacity: 32)

    init(rootKey: RootKey) { self.rootKey = rootKey }

    /// Adds a block under its key; keys must come in order.
    mutating func add(key: UnsafeRawBufferPointer, handle: BlockHandle) {
        if block.isEmpty { firstKey = [UInt8](key) }
        handleBytes.removeAll()
        handle.encode(into: &handleBytes)
        block.add(key: key, value: handleBytes.bytes)
        if block.estimatedBytes >= SSTableFormat.indexBlockBytes { endBlock() }
    }

    private mutating func endBlock() {
        let key = rootKey == .first ? firstKey : [UInt8](block.lastKeyBytes)
        full.append((key, [UInt8](block.finish())))
        block.removeAll()
    }

    /// Writes the index blocks, then the root, through `append`.
    /// - Returns: the handle of the root, which is empty when nothing was added.
    mutating func finish(
        _ append: (UnsafeRawBufferPointer) throws(StorageError) -> BlockHandle
    ) throws(StorageError) -> BlockHandle {
        if !block.isEmpty { endBlock() }
        var root = BlockWriter(capacity: 4 << 10)
        for one in full {
            let handle = try one.bytes.withUnsafeBytesTyped { (bytes) throws(StorageError) in try append(bytes) }
            handleBytes.removeAll()
            handle.encode(into: &handleBytes)
            one.key.withUnsafeBytes { root.add(key: $0, value: handleBytes.bytes) }
        }
        return try append(root.finish())
    }
}
