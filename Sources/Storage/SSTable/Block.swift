import DataModel
import Primitives

/// A sorted run of entries in memory: a data, index or tombstone block after its checksum was verified.
///
///     block   := entry* restart* restartCount
///     entry   := shared unshared valueLength keySuffix value       three varints, then bytes
///     restart := offset of an entry with shared = 0 (4 bytes, little-endian), every 16th entry or after 512 bytes
///
/// **Invariants**: `init` has validated all entries, offsets and lengths, so cursors need not check them.
/// **Thread safety**: immutable.
/// SAFETY: owns `base`.
public final class Block: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    /// The size of the block, in bytes.
    let count: Int
    /// The offset where the entries end.
    let entriesEnd: Int
    let restartCount: Int
    /// The number of leading bytes that all restart keys share. `words` has the next 8 bytes of each restart key,
    /// big-endian, zero-padded: a binary search over them stays in a few cache lines, whereas each key lies in a
    /// different one.
    private let commonBytes: Int
    private let words: UnsafeMutablePointer<UInt64>

    static let restartInterval = 16
    /// A restart comes sooner with large entries: a lookup walks half the entries between two restarts, at one cache
    /// miss per entry.
    static let restartBytes = 512

    /// Takes ownership of `memory`, which was allocated with `UnsafeMutableRawPointer.allocate`.
    /// - Throws: `ByteError` when it is not a valid block; the memory is then freed.
    init(owning memory: UnsafeMutableRawPointer, count: Int) throws(ByteError) {
        do throws(ByteError) { (entriesEnd, restartCount) = try Block.validate(memory, count: count) } catch {
            memory.deallocate()
            throw error
        }
        base = memory
        self.count = count
        words = .allocate(capacity: restartCount)
        var common = 0
        if restartCount > 0 {
            let first = Block.key(memory, at: Block.restart(0, memory, entriesEnd))
            common = BlockWriter.sharedPrefix(
                first, Block.key(memory, at: Block.restart(restartCount - 1, memory, entriesEnd)))
        }
        commonBytes = common
        for index in 0..<restartCount {
            words[index] = keyPrefixWord(Block.key(memory, at: Block.restart(index, memory, entriesEnd)), skip: common)
        }
    }

    deinit {
        words.deallocate()
        base.deallocate()
    }

    /// Bytes of memory held, including the restart words.
    var memoryBytes: Int { count + restartCount * 8 + 96 }

    /// Checks that all entries lie inside the block and that each restart points at an entry with shared = 0.
    private static func validate(_ base: UnsafeMutableRawPointer, count: Int) throws(ByteError) -> (
        entriesEnd: Int, restartCount: Int
    ) {
        guard count >= 4 else { throw .truncated(offset: 0, needed: 4, available: count) }
        let restartCount = Int(UInt32(littleEndian: (base + (count - 4)).loadUnaligned(as: UInt32.self)))
        guard restartCount <= (count - 4) / 4 else {
            throw .truncated(offset: count - 4, needed: restartCount * 4, available: count - 4)
        }
        let entriesEnd = count - 4 - restartCount * 4
        var reader = ByteReader(UnsafeRawBufferPointer(start: base, count: entriesEnd))
        var keyCount = 0
        var restart = 0
        while !reader.isAtEnd {
            let at = reader.offset
            let shared = try reader.readCount()
            let unshared = try reader.readCount()
            let value = try reader.readCount()
            guard shared <= keyCount else { throw .malformedVarint(offset: at) }
            if restart < restartCount && Block.restart(restart, base, entriesEnd) == at {
                guard shared == 0 else { throw .malformedVarint(offset: at) }
                restart += 1
            }
            try reader.skip(unshared)
            try reader.skip(value)
            keyCount = shared + unshared
        }
        guard restart == restartCount else { throw .malformedVarint(offset: entriesEnd) }
        return (entriesEnd, restartCount)
    }

    @inline(__always) private static func restart(_ index: Int, _ base: UnsafeMutableRawPointer, _ entriesEnd: Int)
        -> Int
    {
        Int(UInt32(littleEndian: (base + (entriesEnd + index * 4)).loadUnaligned(as: UInt32.self)))
    }

    @inline(__always) func restart(_ index: Int) -> Int { Block.restart(index, base, entriesEnd) }

    /// Returns the key of an entry with shared = 0.
    @inline(__always) private static func key(_ base: UnsafeMutableRawPointer, at offset: Int) -> UnsafeRawBufferPointer
    {
        var p = UnsafeRawPointer(base + offset)
        _ = Block.varint(&p)
        let count = Block.varint(&p)
        _ = Block.varint(&p)
        return UnsafeRawBufferPointer(start: p, count: count)
    }

    /// Returns the last restart whose key is below `key`, or else the first; the block must not be empty.
    @inline(__always) func restartBelow(_ key: UnsafeRawBufferPointer) -> Int {
        let first = Block.key(base, at: restart(0))
        let order = compareBytes(
            UnsafeRawBufferPointer(rebasing: key[..<min(key.count, commonBytes)]),
            UnsafeRawBufferPointer(rebasing: first[..<commonBytes]))
        if order != 0 { return order < 0 ? 0 : restartCount - 1 }
        let word = keyPrefixWord(key, skip: commonBytes)
        var low = 0
        var high = restartCount
        while high - low > 1 {
            let middle = (low + high) >> 1
            let other = words[middle]
            let isBelow = other == word ? compareBytes(Block.key(base, at: restart(middle)), key) < 0 : other < word
            if isBelow { low = middle } else { high = middle }
        }
        return low
    }
}
