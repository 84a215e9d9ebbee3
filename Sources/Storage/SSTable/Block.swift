import DataModel
import Primitives

/// A sorted run of entries in memory: a data, index or tombstone block after its checksum was verified.
///
///     block   := entry* restart* restartCount
///     entry   := shared unshared valueLength keySuffix value       three varints, then bytes
///     restart := offset of an entry with shared = 0 (4 bytes, little-endian), every 16th entry or after 512 bytes
///
/// **Invariants**: `init` has walked all entries; every offset and length inside is good, so cursors need not check.
/// **Thread safety**: immutable.
/// SAFETY: owns `base`.
public final class Block: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    /// Bytes in all.
    let count: Int
    /// Where the entries end.
    let entriesEnd: Int
    let restartCount: Int
    /// Bytes all restarts' keys begin with, and of each the 8 bytes that follow, big-endian, zeros past its end: a search stays in a few cache lines, where the
    /// keys themselves lie in one each.
    private let commonBytes: Int
    private let words: UnsafeMutablePointer<UInt64>

    static let restartInterval = 16
    /// With large entries sooner: a lookup reads half of what lies between two restarts, a cache miss an entry.
    static let restartBytes = 512

    /// Takes ownership of `memory`, which malloc gave.
    /// - Throws: `ByteError` where it is not a block; the memory is freed then too.
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
            common = BlockWriter.sharedPrefix(first, Block.key(memory, at: Block.restart(restartCount - 1, memory, entriesEnd)))
        }
        commonBytes = common
        for index in 0..<restartCount {
            words[index] = keyWord(Block.key(memory, at: Block.restart(index, memory, entriesEnd)), skip: common)
        }
    }

    deinit {
        words.deallocate()
        base.deallocate()
    }

    /// Bytes of memory held.
    var memoryBytes: Int { count + restartCount * 8 + 96 }

    /// Walks all entries and checks that they lie inside and that the restarts point at entries that share nothing.
    private static func validate(_ base: UnsafeMutableRawPointer, count: Int) throws(ByteError) -> (entriesEnd: Int, restartCount: Int) {
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

    @inline(__always) private static func restart(_ index: Int, _ base: UnsafeMutableRawPointer, _ entriesEnd: Int) -> Int {
        Int(UInt32(littleEndian: (base + (entriesEnd + index * 4)).loadUnaligned(as: UInt32.self)))
    }

    @inline(__always) func restart(_ index: Int) -> Int { Block.restart(index, base, entriesEnd) }

    /// The key of an entry that shares nothing.
    @inline(__always) private static func key(_ base: UnsafeMutableRawPointer, at offset: Int) -> UnsafeRawBufferPointer {
        var p = UnsafeRawPointer(base + offset)
        _ = Block.varint(&p)
        let count = Block.varint(&p)
        _ = Block.varint(&p)
        return UnsafeRawBufferPointer(start: p, count: count)
    }

    /// The last restart whose key is below `key`, or else the first; there must be one.
    @inline(__always) func restartBelow(_ key: UnsafeRawBufferPointer) -> Int {
        let first = Block.key(base, at: restart(0))
        let order = compareBytes(
            UnsafeRawBufferPointer(rebasing: key[..<min(key.count, commonBytes)]), UnsafeRawBufferPointer(rebasing: first[..<commonBytes]))
        if order != 0 { return order < 0 ? 0 : restartCount - 1 }
        let word = keyWord(key, skip: commonBytes)
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
