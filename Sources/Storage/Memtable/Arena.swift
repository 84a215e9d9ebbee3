#if canImport(Glibc)
    import Glibc
#endif

/// A bump allocator: memory is allocated by moving a pointer and freed all at once.
///
/// Chunks are mapped from the kernel and unmapped, bypassing malloc, which would keep most of a memtable's memory.
/// Large chunks are aligned to 2 MiB so that the kernel can back them with huge pages: a lookup then misses the TLB
/// once instead of at every tree level.
///
/// **Invariants**: an address stays valid until `deinit`; nothing is freed before.
/// **Thread safety**: one thread at a time may allocate; any thread may read allocated memory.
final class Arena {
    private var chunks: [UnsafeMutableRawBufferPointer] = []
    private var next: UnsafeMutableRawPointer
    private var end: UnsafeMutableRawPointer
    private var chunkBytes = 16 << 10
    /// Bytes mapped from the kernel.
    private(set) var reservedBytes = 0

    static let largestChunkBytes = 2 << 20

    init() {
        next = UnsafeMutableRawPointer(bitPattern: 16).unsafelyUnwrapped
        end = next
    }

    deinit { for chunk in chunks { munmap(chunk.baseAddress, chunk.count) } }

    /// Allocates `count` uninitialized bytes, aligned to 8.
    @inline(__always) func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        let rounded = (count + 7) & ~7
        if end - next < rounded { newChunk(rounded) }
        defer { next += rounded }
        return next
    }

    @inline(never) private func newChunk(_ needed: Int) {
        let page = 4096
        let size = (max(chunkBytes, needed) + page - 1) & ~(page - 1)
        let chunk = size < Arena.largestChunkBytes ? Arena.map(size) : Arena.mapAligned(size)
        chunks.append(UnsafeMutableRawBufferPointer(start: chunk, count: size))
        reservedBytes += size
        next = chunk
        end = chunk + size
        chunkBytes = min(chunkBytes * 2, Arena.largestChunkBytes)
    }

    private static func map(_ size: Int) -> UnsafeMutableRawPointer {
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else {
            preconditionFailure("out of memory: \(size) bytes for a memtable")
        }
        return memory
    }

    /// Maps more than needed and unmaps the parts before and after the aligned range.
    private static func mapAligned(_ size: Int) -> UnsafeMutableRawPointer {
        let alignment = largestChunkBytes
        let memory = map(size + alignment)
        let before = (alignment - Int(bitPattern: memory) % alignment) % alignment
        if before > 0 { munmap(memory, before) }
        if alignment > before { munmap(memory + before + size, alignment - before) }
        let hugePages: Int32 = 14  // MADV_HUGEPAGE
        madvise(memory + before, size, hugePages)
        return memory + before
    }
}
