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

    static let restartInterval = 16
    /// With large entries sooner: a lookup reads half of what lies between two restarts, a cache miss an entry.
    static let restartBytes = 512

    /// Takes ownership of `memory`, which malloc gave.
    /// - Throws: `ByteError` where it is not a block; the memory is freed then too.
    init(owning memory: UnsafeMutableRawPointer, count: Int) throws(ByteError) {
        base = memory
        self.count = count
        guard count >= 4 else {
            entriesEnd = 0
            restartCount = 0
            throw .truncated(offset: 0, needed: 4, available: count)
        }
        let restarts = Int(UInt32(littleEndian: (memory + (count - 4)).loadUnaligned(as: UInt32.self)))
        restartCount = restarts
        guard restarts <= (count - 4) / 4 else {
            entriesEnd = 0
            throw .truncated(offset: count - 4, needed: restarts * 4, available: count - 4)
        }
        entriesEnd = count - 4 - restarts * 4
        try validate()
    }

    deinit { base.deallocate() }

    /// Walks all entries and checks that they lie inside and that the restarts point at entries that share nothing.
    private func validate() throws(ByteError) {
        var reader = ByteReader(UnsafeRawBufferPointer(start: base, count: entriesEnd))
        var keyCount = 0
        var restart = 0
        while !reader.isAtEnd {
            let at = reader.offset
            let shared = try reader.readCount()
            let unshared = try reader.readCount()
            let value = try reader.readCount()
            guard shared <= keyCount else { throw .malformedVarint(offset: at) }
            if restart < restartCount && self.restart(restart) == at {
                guard shared == 0 else { throw .malformedVarint(offset: at) }
                restart += 1
            }
            try reader.skip(unshared)
            try reader.skip(value)
            keyCount = shared + unshared
        }
        guard restart == restartCount else { throw .malformedVarint(offset: entriesEnd) }
    }

    @inline(__always) func restart(_ index: Int) -> Int {
        Int(UInt32(littleEndian: (base + (entriesEnd + index * 4)).loadUnaligned(as: UInt32.self)))
    }
}
