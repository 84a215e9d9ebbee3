/// Iterates over the elements of a serialized collection: count (4 bytes), then for each value its length (4 bytes) and
/// bytes.
///
/// SAFETY: borrows the bytes and must not outlive them. Every length is checked.
public struct CollectionReader {
    private let bytes: UnsafeRawBufferPointer
    private let name: String
    private var offset: Int
    /// The number of values not read yet.
    public private(set) var remaining: Int
    /// The number of elements; for a map, of entries.
    public let count: Int

    /// - Parameter valuesPerElement: 2 for maps, in which keys and values alternate.
    public init(_ bytes: UnsafeRawBufferPointer, name: String, valuesPerElement: Int = 1) throws(ValueError) {
        self.bytes = bytes
        self.name = name
        guard bytes.count >= 4 else {
            guard bytes.isEmpty else { throw .invalid("Not enough bytes to read a \(name)") }
            (offset, remaining, count) = (0, 0, 0)
            return
        }
        let stated = Int(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
        // Every value takes at least four bytes; a larger count is damage.
        guard stated >= 0, stated <= (bytes.count - 4) / (4 * valuesPerElement) else {
            throw .invalid("Not enough bytes to read a \(name)")
        }
        count = stated
        remaining = stated * valuesPerElement
        offset = 4
    }

    /// Returns the next value, or nil after the last.
    /// - Throws: when its length is negative (collections hold no nulls) or exceeds the remaining bytes.
    public mutating func next() throws(ValueError) -> UnsafeRawBufferPointer? {
        guard remaining > 0 else { return nil }
        guard bytes.count - offset >= 4 else { throw .invalid("Not enough bytes to read a \(name)") }
        let length = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
        offset += 4
        guard length >= 0 else { throw .invalid("null is not supported inside collections") }
        guard bytes.count - offset >= length else { throw .invalid("Not enough bytes to read a \(name)") }
        defer { offset += length }
        remaining -= 1
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
    }

    /// Checks that the collection ends here.
    ///
    /// - Throws: when bytes follow the last value.
    public func finish() throws(ValueError) {
        guard offset == bytes.count else { throw .invalid("Unexpected extraneous bytes after \(name) value") }
    }
}

/// Iterates over the fields of a serialized tuple: for each its length (4 bytes, -1 for null) and bytes. Trailing
/// fields may be missing.
///
/// SAFETY: borrows the bytes and must not outlive them. Every length is checked.
public struct TupleReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0
    private var index = 0

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    public var isAtEnd: Bool { offset == bytes.count }

    /// Returns the next field (`.some(nil)` when it is null), or nil after the last.
    public mutating func next() throws(ValueError) -> UnsafeRawBufferPointer?? {
        guard offset < bytes.count else { return .none }
        guard bytes.count - offset >= 4 else { throw .invalid("Not enough bytes to read size of \(index)th component") }
        let length = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
        offset += 4
        index += 1
        guard length >= 0 else { return .some(nil) }
        guard bytes.count - offset >= length else {
            throw .invalid("Not enough bytes to read \(index - 1)th component")
        }
        defer { offset += length }
        return .some(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))
    }
}
