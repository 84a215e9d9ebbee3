import Primitives

/// One row or range deletion of a mutation; borrows the mutation's bytes.
public enum MutationOperation {
    case row(key: UnsafeRawBufferPointer, row: UnsafeRawBufferPointer)
    case deleteRange(start: UnsafeRawBufferPointer, end: UnsafeRawBufferPointer, deletion: DeletionTime)

    /// The row's key or the start of the range: a key of the mutation's partition.
    @inline(__always) public var key: UnsafeRawBufferPointer {
        switch self {
        case .row(let key, _): key
        case .deleteRange(let start, _, _): start
        }
    }
}

/// Iterates over encoded mutations (`MutationWriter`).
///
/// SAFETY: borrows the bytes.
public struct MutationReader {
    var reader: ByteReader
    private(set) var end = 0
    /// The table of the current mutation.
    public private(set) var table = UUID(high: 0, low: 0)

    public init(_ bytes: UnsafeRawBufferPointer) { reader = ByteReader(bytes) }

    /// Whether the bytes hold more than one mutation.
    @inline(__always) public static func containsSeveralMutations(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 20 else { return false }
        let length = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
        return bytes.count - 20 > Int(length)
    }

    /// Moves to the next mutation; false after the last one.
    /// - Throws: `ByteError` when the bytes do not parse.
    public mutating func nextTable() throws(ByteError) -> Bool {
        if reader.offset < end { reader.offset = end }
        guard !reader.isAtEnd else { return false }
        let high = try reader.readBE(UInt64.self)
        let low = try reader.readBE(UInt64.self)
        table = UUID(high: high, low: low)
        let length = Int(try reader.readLE(UInt32.self))
        guard reader.remaining >= length else {
            throw .truncated(offset: reader.offset, needed: length, available: reader.remaining)
        }
        end = reader.offset + length
        return true
    }

    /// Returns the next operation of the current mutation; nil after the last one.
    public mutating func nextOperation() throws(ByteError) -> MutationOperation? {
        guard reader.offset < end else { return nil }
        return try MutationReader.operation(from: &reader)
    }

    /// Reads an operation from bytes without a mutation header; nil at the end.
    @inline(__always) public static func operation(from reader: inout ByteReader) throws(ByteError)
        -> MutationOperation?
    {
        if reader.isAtEnd { return nil }
        let kind = try reader.readU8()
        let first = Int(try reader.readLE(UInt32.self))
        let second = Int(try reader.readLE(UInt32.self))
        let a = try reader.readSlice(first)
        let b = try reader.readSlice(second)
        switch kind {
        case 1: return .row(key: a, row: b)
        case 2:
            let timestamp = try reader.readLE(Int64.self)
            let local = try reader.readLE(UInt32.self)
            return .deleteRange(start: a, end: b, deletion: DeletionTime(timestamp: timestamp, localDeletion: local))
        default: throw .malformedVarint(offset: reader.offset)
        }
    }
}
