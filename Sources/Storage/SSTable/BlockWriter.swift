import Primitives

/// Builds a block (`Block`) from entries in key order.
struct BlockWriter: ~Copyable {
    private(set) var out: ByteWriter
    private var restarts: [UInt32] = []
    private var sinceRestart = 0
    private var lastRestart = 0
    private var lastKey: ByteWriter
    private(set) var entryCount = 0

    init(capacity: Int) {
        out = ByteWriter(capacity: capacity + capacity / 4)
        lastKey = ByteWriter(capacity: 256)
    }

    var isEmpty: Bool { entryCount == 0 }
    /// The size of the block if it ended here, in bytes.
    var estimatedBytes: Int { out.count + restarts.count * 4 + 4 }
    /// The last key added.
    var lastKeyBytes: UnsafeRawBufferPointer { lastKey.bytes }

    mutating func removeAll() {
        out.removeAll()
        restarts.removeAll(keepingCapacity: true)
        sinceRestart = 0
        lastRestart = 0
        entryCount = 0
        lastKey.removeAll()
    }

    mutating func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        var shared = 0
        if entryCount == 0 || sinceRestart == Block.restartInterval || out.count - lastRestart >= Block.restartBytes {
            lastRestart = out.count
            restarts.append(UInt32(out.count))
            sinceRestart = 0
        } else {
            shared = BlockWriter.sharedPrefix(lastKey.bytes, key)
        }
        out.writeVarint(shared)
        out.writeVarint(key.count - shared)
        out.writeVarint(value.count)
        let suffix = UnsafeRawBufferPointer(rebasing: key[shared...])
        out.write(suffix)
        out.write(value)
        lastKey.truncate(to: min(shared, lastKey.count))
        lastKey.write(suffix)
        sinceRestart += 1
        entryCount += 1
    }

    /// Appends the restarts and returns the whole block; valid until the next change.
    mutating func finish() -> UnsafeRawBufferPointer {
        for restart in restarts { out.writeLE(restart) }
        out.writeLE(UInt32(restarts.count))
        return out.bytes
    }

    @inline(__always) static func sharedPrefix(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int {
        let most = min(a.count, b.count)
        var index = 0
        while most - index >= 8 {
            let x = a.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let y = b.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if x != y { return index + (x ^ y).littleEndian.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < most && a[index] == b[index] { index += 1 }
        return index
    }
}
