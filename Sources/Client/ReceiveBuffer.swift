import Glibc

/// A contiguous buffer of bytes received and not yet decoded.
///
/// SAFETY: `base` is owned and has `capacity` bytes, of which `start..<end` are initialized.
struct ReceiveBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private var start = 0
    private var end = 0

    init(capacity: Int = 256 << 10) {
        self.capacity = capacity
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { base.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + start, count: end - start) }

    /// Drops the first `count` bytes.
    mutating func discard(_ count: Int) {
        precondition(count >= 0 && count <= end - start, "discard of \(count) bytes of \(end - start)")
        start += count
        if start == end {
            start = 0
            end = 0
        }
    }

    /// Appends the bytes that `body` writes into free space of at least `wanted` bytes.
    mutating func fill<E: Error, R>(
        wanted: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> (count: Int, result: R)
    ) throws(E) -> R {
        if capacity - end < wanted {
            if start > 0 {
                memmove(base, base + start, end - start)
                end -= start
                start = 0
            }
            if capacity - end < wanted {
                var bigger = capacity * 2
                while bigger - end < wanted { bigger *= 2 }
                let moved = UnsafeMutableRawPointer.allocate(byteCount: bigger, alignment: 16)
                moved.copyMemory(from: base, byteCount: end)
                base.deallocate()
                base = moved
                capacity = bigger
            }
        }
        let (count, result) = try body(UnsafeMutableRawBufferPointer(start: base + end, count: capacity - end))
        precondition(count >= 0 && count <= capacity - end, "\(count) bytes filled of \(capacity - end)")
        end += count
        return result
    }
}
