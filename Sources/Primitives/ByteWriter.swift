#if canImport(Glibc)
    import Glibc
#endif

/// A growing buffer of bytes with one owner.
///
/// It keeps its memory on `removeAll()`, so that one writer used again and again allocates nothing.
/// SAFETY: `base` is owned, has room for `capacity` bytes, of which the first `count` are set.
public struct ByteWriter: ~Copyable, @unchecked Sendable {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    /// Bytes written so far.
    public private(set) var count: Int = 0

    @inlinable public init(capacity: Int = 256) {
        self.capacity = max(capacity, 16)
        base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 16)
    }

    deinit { base.deallocate() }

    @usableFromInline @inline(never) mutating func grow(_ needed: Int) {
        var bigger = capacity * 2
        while bigger - count < needed { bigger *= 2 }
        let moved = UnsafeMutableRawPointer.allocate(byteCount: bigger, alignment: 16)
        moved.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = moved
        capacity = bigger
    }

    /// Bytes of memory held.
    public var capacityBytes: Int { capacity }

    /// Room for `needed` more bytes.
    @inline(__always) public mutating func reserve(_ needed: Int) {
        if capacity - count < needed { grow(needed) }
    }

    /// Forgets the contents, keeps the memory.
    @inline(__always) public mutating func removeAll() { count = 0 }

    /// Forgets everything from `length` on.
    @inline(__always) public mutating func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "truncate(to: \(length)) of a writer of \(count) bytes")
        count = length
    }

    /// Forgets the first `length` bytes; what follows moves to the front.
    public mutating func dropFirst(_ length: Int) {
        precondition(length >= 0 && length <= count, "dropFirst(\(length)) of a writer of \(count) bytes")
        memmove(base, base + length, count - length)
        count -= length
    }

    @inline(__always) public mutating func write(_ byte: UInt8) {
        reserve(1)
        base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    /// Most significant byte first.
    @inline(__always) public mutating func writeBE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        reserve(MemoryLayout<T>.size)
        (base + count).storeBytes(of: value.bigEndian, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// Least significant byte first.
    @inline(__always) public mutating func writeLE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        reserve(MemoryLayout<T>.size)
        (base + count).storeBytes(of: value.littleEndian, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// An unsigned LEB128 varint.
    @inline(__always) public mutating func writeVarint(_ value: UInt64) {
        reserve(10)
        var rest = value
        while rest >= 0x80 {
            base.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, toByteOffset: count, as: UInt8.self)
            count += 1
            rest >>= 7
        }
        base.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: count, as: UInt8.self)
        count += 1
    }

    @inline(__always) public mutating func writeVarint(_ value: Int) { writeVarint(UInt64(value)) }

    @inline(__always) public mutating func write(_ bytes: UnsafeRawBufferPointer) {
        reserve(bytes.count)
        if let start = bytes.baseAddress { (base + count).copyMemory(from: start, byteCount: bytes.count) }
        count += bytes.count
    }

    @inline(__always) public mutating func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { write($0) }
    }

    @inline(__always) public mutating func write(_ bytes: ArraySlice<UInt8>) {
        bytes.withUnsafeBytes { write($0) }
    }

    /// The UTF-8 of `text`, no length.
    public mutating func write(_ text: String) {
        var copy = text
        copy.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    @inline(__always) public mutating func writeZeros(_ length: Int) {
        reserve(length)
        memset(base + count, 0, length)
        count += length
    }

    /// Overwrites an integer written before, most significant byte first.
    @inline(__always) public mutating func patchBE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at position: Int) {
        precondition(position >= 0 && count - position >= MemoryLayout<T>.size, "patch at \(position) outside \(count) bytes")
        (base + position).storeBytes(of: value.bigEndian, as: T.self)
    }

    /// Overwrites an integer written before, least significant byte first.
    @inline(__always) public mutating func patchLE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at position: Int) {
        precondition(position >= 0 && count - position >= MemoryLayout<T>.size, "patch at \(position) outside \(count) bytes")
        (base + position).storeBytes(of: value.littleEndian, as: T.self)
    }

    /// What was written, borrowed until the next change.
    @inline(__always) public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// What was written, copied.
    public func toArray() -> [UInt8] { [UInt8](bytes) }

    /// Room for `length` bytes at the end, filled by `body`, which returns how many it set.
    @inline(__always) public mutating func append<E: Error>(
        _ length: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        reserve(length)
        let set = try body(UnsafeMutableRawBufferPointer(start: base + count, count: length))
        precondition(set >= 0 && set <= length, "\(set) bytes set of \(length)")
        count += set
    }
}
