#if canImport(Glibc)
    import Glibc
#endif

/// A growable byte buffer with one owner.
///
/// `removeAll()` keeps the memory, so that a reused writer does not allocate.
/// SAFETY: `base` is owned and has `capacity` bytes, of which the first `count` are initialized.
public struct ByteWriter: ~Copyable, @unchecked Sendable {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    /// The number of bytes written.
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

    /// The size of the allocated memory, in bytes.
    public var capacityBytes: Int { capacity }

    /// Makes space for `needed` more bytes.
    @inline(__always) public mutating func reserve(_ needed: Int) {
        if capacity - count < needed { grow(needed) }
    }

    /// Removes the contents and keeps the memory.
    @inline(__always) public mutating func removeAll() { count = 0 }

    /// Removes everything after the first `length` bytes.
    @inline(__always) public mutating func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "truncate(to: \(length)) of a writer of \(count) bytes")
        count = length
    }

    @inline(__always) public mutating func write(_ byte: UInt8) {
        reserve(1)
        base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    /// Appends an integer, most significant byte first.
    @inline(__always) public mutating func writeBE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        reserve(MemoryLayout<T>.size)
        (base + count).storeBytes(of: value.bigEndian, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// Appends an integer, least significant byte first.
    @inline(__always) public mutating func writeLE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        reserve(MemoryLayout<T>.size)
        (base + count).storeBytes(of: value.littleEndian, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// Appends an unsigned LEB128 varint.
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

    /// Appends the UTF-8 bytes of `text`, without a length.
    public mutating func write(_ text: String) {
        var copy = text
        copy.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    @inline(__always) public mutating func writeZeros(_ length: Int) {
        reserve(length)
        memset(base + count, 0, length)
        count += length
    }

    /// Overwrites an earlier integer, most significant byte first.
    @inline(__always) public mutating func patchBE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at position: Int)
    {
        precondition(
            position >= 0 && count - position >= MemoryLayout<T>.size, "patch at \(position) outside \(count) bytes")
        (base + position).storeBytes(of: value.bigEndian, as: T.self)
    }

    /// Overwrites an earlier integer, least significant byte first.
    @inline(__always) public mutating func patchLE<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at position: Int)
    {
        precondition(
            position >= 0 && count - position >= MemoryLayout<T>.size, "patch at \(position) outside \(count) bytes")
        (base + position).storeBytes(of: value.littleEndian, as: T.self)
    }

    /// The bytes written, borrowed until the next change.
    @inline(__always) public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Returns a copy of the bytes written.
    public func toArray() -> [UInt8] { [UInt8](bytes) }

    /// Reserves `length` bytes at the end for `body` to fill. `body` returns how many it initialized; those are
    /// appended.
    @inline(__always) public mutating func append<E: Error>(
        _ length: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        reserve(length)
        let set = try body(UnsafeMutableRawBufferPointer(start: base + count, count: length))
        precondition(set >= 0 && set <= length, "\(set) bytes set of \(length)")
        count += set
    }
}
