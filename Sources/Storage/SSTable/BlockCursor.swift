import DataModel

#if canImport(Glibc)
    import Glibc
#endif

/// A position at an entry of a block, or past its end.
///
/// Forward steps decode one entry. Backward steps decode the run of up to 16 entries after a restart once and then walk
/// it.
/// **Thread safety**: one thread at a time.
/// SAFETY: owns its key buffers; `key` and `value` are valid until the cursor moves.
final class BlockCursor {
    private(set) var block: Block?
    private var keyBuffer: UnsafeMutableRawPointer
    private var keyCapacity: Int
    private var keyCount = 0
    private var keyStart: UnsafeRawPointer
    private var valueStart: UnsafeRawPointer
    private var valueCount = 0
    /// The offsets of the current and of the next entry.
    private var current = 0
    private var next = 0
    private(set) var isValid = false

    // The entries from one restart to the next, decoded for walking backward.
    private var runRestart = -1
    private var runEntries: [(keyOffset: Int, keyCount: Int, valueOffset: Int, valueCount: Int, entry: Int)] = []
    private var runKeys: [UInt8] = []
    private var runIndex = -1

    init() {
        keyCapacity = 256
        keyBuffer = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 16)
        keyStart = UnsafeRawPointer(keyBuffer)
        valueStart = UnsafeRawPointer(keyBuffer)
    }

    deinit { keyBuffer.deallocate() }

    @inline(__always) var key: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: keyStart, count: keyCount) }
    @inline(__always) var value: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: valueStart, count: valueCount) }

    func open(_ block: Block) {
        self.block = block
        isValid = false
        next = 0
        current = 0
        runRestart = -1
        runIndex = -1
    }

    func close() {
        block = nil
        isValid = false
    }

    @inline(never) private func growKey(_ needed: Int) {
        let bigger = max(needed, keyCapacity * 2)
        let moved = UnsafeMutableRawPointer.allocate(byteCount: bigger, alignment: 16)
        moved.copyMemory(from: keyBuffer, byteCount: min(keyCapacity, keyCount))
        keyBuffer.deallocate()
        keyBuffer = moved
        keyCapacity = bigger
    }

    /// Decodes the entry at `next`; its key shares bytes with the key in the buffer.
    @inline(__always) private func decodeNext(_ block: Block) -> Bool {
        guard next < block.entriesEnd else {
            isValid = false
            return false
        }
        current = next
        var p = UnsafeRawPointer(block.base + next)
        let shared = Block.varint(&p)
        let unshared = Block.varint(&p)
        valueCount = Block.varint(&p)
        if shared + unshared > keyCapacity { growKey(shared + unshared) }
        memcpy(keyBuffer + shared, p, unshared)
        keyCount = shared + unshared
        keyStart = UnsafeRawPointer(keyBuffer)
        p += unshared
        valueStart = p
        next = UnsafeRawPointer(p + valueCount) - UnsafeRawPointer(block.base)
        isValid = true
        return true
    }

    /// Moves to the next entry; false past the last.
    @inline(__always) @discardableResult func advance() -> Bool {
        guard let block else { return false }
        if runIndex >= 0 { leaveRun(block) }
        return decodeNext(block)
    }

    @discardableResult func seekToFirst() -> Bool {
        guard let block else { return false }
        runIndex = -1
        next = 0
        return decodeNext(block)
    }

    @discardableResult func seekToLast() -> Bool {
        guard let block, block.restartCount > 0 else {
            isValid = false
            return false
        }
        loadRun(block, restart: block.restartCount - 1)
        return enterRun(block, at: runEntries.count - 1)
    }

    /// Moves to the first entry whose key is not below `key`; false when there is none.
    @discardableResult func seek(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let block else { return false }
        runIndex = -1
        guard block.restartCount > 0 else {
            isValid = false
            return false
        }
        next = block.restart(block.restartBelow(key))
        keyCount = 0
        while decodeNext(block) {
            if compareBytes(self.key, key) >= 0 { return true }
        }
        return false
    }

    /// Moves to the last entry whose key is below `key`; false when there is none.
    @discardableResult func seekBefore(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let block, block.restartCount > 0 else {
            isValid = false
            return false
        }
        loadRun(block, restart: block.restartBelow(key))
        var index = runEntries.count - 1
        while index >= 0 {
            let entry = runEntries[index]
            let order = runKeys.withUnsafeBytes {
                compareBytes(
                    UnsafeRawBufferPointer(rebasing: $0[entry.keyOffset..<entry.keyOffset + entry.keyCount]), key)
            }
            if order < 0 { return enterRun(block, at: index) }
            index -= 1
        }
        isValid = false
        return false
    }

    /// Moves to the last entry whose key is not above `key`; false when there is none.
    @discardableResult func seekFloor(_ key: UnsafeRawBufferPointer) -> Bool {
        if seek(key), compareBytes(self.key, key) == 0 { return true }
        return seekBefore(key)
    }

    /// Moves to the previous entry; false before the first.
    @discardableResult func retreat() -> Bool {
        guard let block, isValid else { return false }
        if runIndex < 0 {
            // After forward steps: find the restart before the current entry.
            let here = current
            var restart = 0
            var high = block.restartCount
            while high - restart > 1 {
                let middle = (restart + high) >> 1
                if block.restart(middle) <= here { restart = middle } else { high = middle }
            }
            loadRun(block, restart: restart)
            runIndex = runEntries.firstIndex { $0.entry == here } ?? 0
        }
        if runIndex > 0 { return enterRun(block, at: runIndex - 1) }
        guard runRestart > 0 else {
            isValid = false
            return false
        }
        loadRun(block, restart: runRestart - 1)
        return enterRun(block, at: runEntries.count - 1)
    }

    private func loadRun(_ block: Block, restart: Int) {
        if runRestart == restart { return }
        runRestart = restart
        runEntries.removeAll(keepingCapacity: true)
        runKeys.removeAll(keepingCapacity: true)
        var offset = block.restart(restart)
        let end = restart + 1 < block.restartCount ? block.restart(restart + 1) : block.entriesEnd
        var lastOffset = 0
        while offset < end {
            let entry = offset
            var p = UnsafeRawPointer(block.base + offset)
            let shared = Block.varint(&p)
            let unshared = Block.varint(&p)
            let valueCount = Block.varint(&p)
            let keyOffset = runKeys.count
            if shared > 0 { runKeys.append(contentsOf: runKeys[lastOffset..<lastOffset + shared]) }
            runKeys.append(contentsOf: UnsafeRawBufferPointer(start: p, count: unshared))
            let valueOffset = p + unshared - UnsafeRawPointer(block.base)
            runEntries.append((keyOffset, shared + unshared, valueOffset, valueCount, entry))
            lastOffset = keyOffset
            offset = valueOffset + valueCount
        }
    }

    private func enterRun(_ block: Block, at index: Int) -> Bool {
        guard index >= 0 else {
            isValid = false
            return false
        }
        runIndex = index
        let entry = runEntries[index]
        if entry.keyCount > keyCapacity { growKey(entry.keyCount) }
        runKeys.withUnsafeBytes {
            _ = memcpy(keyBuffer, $0.baseAddress.unsafelyUnwrapped + entry.keyOffset, entry.keyCount)
        }
        keyCount = entry.keyCount
        keyStart = UnsafeRawPointer(keyBuffer)
        valueStart = UnsafeRawPointer(block.base + entry.valueOffset)
        valueCount = entry.valueCount
        current = entry.entry
        next = entry.valueOffset + entry.valueCount
        isValid = true
        return true
    }

    private func leaveRun(_ block: Block) { runIndex = -1 }
}
