import DataModel
import Platform
import Primitives

/// Iterates over the rows of one sstable in a key range, forward or backward.
///
/// It holds the current index block and data block. A long forward scan reads ahead: from the third block on, in pieces
/// of 256 KiB.
/// **Thread safety**: one thread at a time.
final class SSTableCursor {
    let table: SSTable
    private let range: KeyRange
    private let direction: Direction
    /// Whether blocks go through the cache: not those of a compaction.
    private let isBulk: Bool
    private let root = BlockCursor()
    private let index = BlockCursor()
    private let data = BlockCursor()
    /// Whether the current block may reach past the end of the range.
    private var checksBound = true
    private var window = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var windowOffset = 0
    private var windowCount = 0
    private var blocksRead = 0

    static let windowBytes = 256 << 10

    init(_ table: SSTable, range: KeyRange, direction: Direction, isBulk: Bool) {
        self.table = table
        self.range = range
        self.direction = direction
        self.isBulk = isBulk
        root.open(table.root)
    }

    deinit { window.deallocate() }

    @inline(__always) var key: UnsafeRawBufferPointer { data.key }
    @inline(__always) var value: UnsafeRawBufferPointer { data.value }

    /// Moves to the first row of the scan; false when there is none.
    func start() throws(StorageError) -> Bool {
        switch direction {
        case .forward:
            guard range.start.withUnsafeBytes({ root.seek($0) }) else { return false }
            try openIndex()
            guard range.start.withUnsafeBytes({ index.seek($0) }) else { return false }
            try openData()
            guard range.start.withUnsafeBytes({ data.seek($0) }) else { return try nextBlock() }
            return isInside()
        case .backward:
            // Find the block that may hold the last key below the end: the first one whose separator is not below it,
            // or else the last.
            if !range.end.withUnsafeBytes({ root.seek($0) }), !root.seekToLast() { return false }
            try openIndex()
            if !range.end.withUnsafeBytes({ index.seek($0) }), !index.seekToLast() { return false }
            try openData()
            guard range.end.withUnsafeBytes({ data.seekBefore($0) }) else { return try previousBlock() }
            return isInside()
        }
    }

    @inline(__always) func advance() throws(StorageError) -> Bool {
        switch direction {
        case .forward:
            guard data.advance() else { return try nextBlock() }
            return !checksBound || isInside()
        case .backward:
            guard data.retreat() else { return try previousBlock() }
            return isInside()
        }
    }

    private func isInside() -> Bool {
        switch direction {
        case .forward: range.end.withUnsafeBytes { compareBytes(data.key, $0) < 0 }
        case .backward: range.start.withUnsafeBytes { compareBytes(data.key, $0) >= 0 }
        }
    }

    private func nextBlock() throws(StorageError) -> Bool {
        if !index.advance() {
            guard root.advance() else { return false }
            try openIndex()
            guard index.seekToFirst() else { return false }
        }
        try openData()
        guard data.seekToFirst() else { return false }
        return !checksBound || isInside()
    }

    private func previousBlock() throws(StorageError) -> Bool {
        if !index.retreat() {
            guard root.retreat() else { return false }
            try openIndex()
            guard index.seekToLast() else { return false }
        }
        try openData()
        guard data.seekToLast() else { return false }
        return isInside()
    }

    private func openIndex() throws(StorageError) {
        let handle = try table.handle(root.value)
        index.open(
            isBulk
                ? try SSTable.readBlock(table.file, handle, size: table.fileBytes)
                : try table.block(handle))
    }

    private func openData() throws(StorageError) {
        let handle = try table.handle(index.value)
        checksBound = range.end.withUnsafeBytes { compareBytes(index.key, $0) >= 0 }
        blocksRead += 1
        if !isBulk, let cached = table.cached(handle) {
            data.open(cached)
            return
        }
        guard direction == .forward, isBulk || blocksRead > (Fiber.isRunning ? 4 : 2) else {
            data.open(try table.block(handle))
            return
        }
        let block = try readAhead(handle)
        if !isBulk { table.cache(handle, block) }
        data.open(block)
    }

    /// Decodes a block from the read-ahead window, which is moved when the block is not inside.
    private func readAhead(_ handle: BlockHandle) throws(StorageError) -> Block {
        guard table.fileBytes - handle.offset >= handle.count, handle.count > SSTableFormat.trailerBytes else {
            throw .damaged(path: table.path, offset: handle.offset, "an index entry points outside the file")
        }
        if handle.offset < windowOffset || handle.offset + handle.count > windowOffset + windowCount {
            let wanted = max(SSTableCursor.windowBytes, handle.count)
            if window.count < wanted {
                window.deallocate()
                window = UnsafeMutableRawBufferPointer.allocate(byteCount: wanted, alignment: 4096)
            }
            windowCount = 0
            let count = min(wanted, table.fileBytes - handle.offset)
            try SSTable.fill(
                UnsafeMutableRawBufferPointer(rebasing: window[..<count]), from: table.file, offset: handle.offset)
            windowOffset = handle.offset
            windowCount = count
        }
        let start = handle.offset - windowOffset
        return try SSTable.decodeBlock(
            UnsafeRawBufferPointer(rebasing: window[start..<start + handle.count]), path: table.path,
            offset: handle.offset)
    }
}
