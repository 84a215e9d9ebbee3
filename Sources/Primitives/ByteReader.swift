/// The bytes ended early or do not parse.
public enum ByteError: Error, Equatable {
    /// `needed` bytes were requested at `offset`, but only `available` were left.
    case truncated(offset: Int, needed: Int, available: Int)
    /// A varint of more than ten bytes or more than 64 bits, or any other value that is not allowed at this place.
    case malformedVarint(offset: Int)
    /// The bytes at `offset` are complete, but not what the format requires there.
    case unexpected(offset: Int, expected: String)

    /// Returns the error with its offset counted from `distance` bytes earlier: those of a part become those of the
    /// whole.
    public func moved(by distance: Int) -> ByteError {
        switch self {
        case .truncated(let offset, let needed, let available):
            .truncated(offset: offset + distance, needed: needed, available: available)
        case .malformedVarint(let offset): .malformedVarint(offset: offset + distance)
        case .unexpected(let offset, let expected): .unexpected(offset: offset + distance, expected: expected)
        }
    }
}

/// A bounds-checked cursor over borrowed bytes. It never reads past their end, whatever they contain.
///
/// SAFETY: it borrows the bytes, which must stay alive and unchanged while it is used. Create it inside
/// `withUnsafeBytes` or by `withReader`, and do not let it leave that scope.
public struct ByteReader {
    @usableFromInline let base: UnsafeRawPointer
    /// The total number of bytes, read or not.
    public let count: Int
    /// The number of bytes read so far.
    public var offset: Int = 0

    @inlinable public init(_ bytes: UnsafeRawBufferPointer) {
        base = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!  // never dereferenced when count is 0
        count = bytes.count
    }

    /// The number of bytes not read yet.
    @inlinable public var remaining: Int { count - offset }
    @inlinable public var isAtEnd: Bool { offset >= count }

    @inlinable mutating func take(_ needed: Int) throws(ByteError) -> UnsafeRawPointer {
        guard needed >= 0, count - offset >= needed else {
            throw .truncated(offset: offset, needed: needed, available: count - offset)
        }
        defer { offset += needed }
        return base + offset
    }

    @inlinable public mutating func readU8() throws(ByteError) -> UInt8 { try take(1).load(as: UInt8.self) }

    /// Reads a fixed-width integer, most significant byte first.
    @inlinable public mutating func readBE<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self)
        throws(ByteError) -> T
    {
        T(bigEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// Reads a fixed-width integer, least significant byte first.
    @inlinable public mutating func readLE<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self)
        throws(ByteError) -> T
    {
        T(littleEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// Reads an unsigned LEB128 varint of at most ten bytes.
    @inlinable public mutating func readVarint() throws(ByteError) -> UInt64 {
        let start = offset
        var result: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            guard offset < count else {
                throw .truncated(offset: start, needed: offset - start + 1, available: count - start)
            }
            let byte = (base + offset).load(as: UInt8.self)
            offset += 1
            if shift == 63 && byte > 1 { throw .malformedVarint(offset: start) }
            result |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return result }
            shift += 7
            if shift > 63 { throw .malformedVarint(offset: start) }
        }
    }

    /// Reads a varint as a count or length; throws when it does not fit an `Int`.
    @inlinable public mutating func readCount() throws(ByteError) -> Int {
        let start = offset
        let value = try readVarint()
        guard value <= UInt64(Int.max) else { throw .malformedVarint(offset: start) }
        return Int(value)
    }

    /// Returns the next `length` bytes, borrowed.
    @inlinable public mutating func readSlice(_ length: Int) throws(ByteError) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: try take(length), count: length)
    }

    /// Returns a copy of the next `length` bytes.
    @inlinable public mutating func readArray(_ length: Int) throws(ByteError) -> [UInt8] {
        let slice = try readSlice(length)
        return [UInt8](slice)
    }

    @inlinable public mutating func skip(_ length: Int) throws(ByteError) { _ = try take(length) }
}

extension Array where Element == UInt8 {
    /// Passes a reader over the array to `body`; it is valid only inside.
    @inlinable public func withReader<R, E: Error>(_ body: (inout ByteReader) throws(E) -> R) throws(E) -> R {
        try withUnsafeBytesTyped { (bytes) throws(E) -> R in
            var reader = ByteReader(bytes)
            return try body(&reader)
        }
    }

    /// `withUnsafeBytes` that preserves the error's type.
    @inlinable public func withUnsafeBytesTyped<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E)
        -> R
    {
        let outcome: Result<R, E> = self.withUnsafeBytes { bytes in
            do throws(E) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
