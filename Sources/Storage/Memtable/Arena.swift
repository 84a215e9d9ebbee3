#if canImport(Glibc)
    import Glibc
#endif

/// Memory that is handed out by moving a pointer and given back all at once.
///
/// **Invariants**: an address stays valid until `deinit`; nothing is freed before. Large chunks are aligned to 2 MiB, so that the kernel may back
/// them with huge pages: a lookup then misses the address cache once instead of at every level.
/// **Thread safety**: one thread at a time; what was handed out may be read by any.
final class Arena {
    private var chunks: [UnsafeMutableRawPointer] = []
    private var next: UnsafeMutableRawPointer
    private var end: UnsafeMutableRawPointer
    private var chunkBytes = 16 << 10
    /// Bytes taken from the system.
    private(set) var reservedBytes = 0

    static let largestChunkBytes = 2 << 20

    init() {
        next = UnsafeMutableRawPointer(bitPattern: 16).unsafelyUnwrapped
        end = next
    }

    deinit { for chunk in chunks { free(chunk) } }

    /// `count` bytes, aligned to 8, not cleared.
    @inline(__always) func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        let rounded = (count + 7) & ~7
        if end - next < rounded { newChunk(rounded) }
        defer { next += rounded }
        return next
    }

    @inline(never) private func newChunk(_ needed: Int) {
        let size = max(chunkBytes, needed)
        var memory: UnsafeMutableRawPointer?
        let alignment = size >= Arena.largestChunkBytes ? Arena.largestChunkBytes : 64
        let failed = posix_memalign(&memory, alignment, size)
        precondition(failed == 0, "out of memory: \(size) bytes for a memtable")
        let chunk = memory.unsafelyUnwrapped  // posix_memalign succeeded
        let hugePages: Int32 = 14  // MADV_HUGEPAGE
        if size >= Arena.largestChunkBytes { madvise(chunk, size, hugePages) }
        chunks.append(chunk)
        reservedBytes += size
        next = chunk
        end = chunk + size
        chunkBytes = min(chunkBytes * 2, Arena.largestChunkBytes)
    }
}
