import Primitives

/// Iterates over the cells of an encoded row without copying.
///
/// SAFETY: borrows the row's bytes, which must be valid (check bytes from outside with `RowView.validate`) and outlive
/// the cursor.
public struct CellCursor {
    @usableFromInline var next: UnsafeRawPointer
    @usableFromInline let end: UnsafeRawPointer
    @usableFromInline let base: Int64

    /// The column's id, `ColumnMetadata.id`.
    public private(set) var column: Int = -1
    public private(set) var flags: CellFlags = []
    /// Microseconds since 1970.
    public private(set) var timestamp: Int64 = .min
    /// Seconds; 0 when the cell does not expire.
    public private(set) var ttl: UInt32 = 0
    /// Seconds since 1970: the expiration of an expiring cell or the creation of a tombstone; `UInt32.max` for other
    /// cells.
    public private(set) var localDeletion: UInt32 = .max
    /// The byte-comparable path of a collection's cell; empty for other cells.
    public private(set) var path = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Native-protocol bytes.
    public private(set) var value = UnsafeRawBufferPointer(start: nil, count: 0)

    @inlinable init(next: UnsafeRawPointer, end: UnsafeRawPointer, base: Int64) {
        self.next = next
        self.end = end
        self.base = base
    }

    @inline(__always) private mutating func varint() -> Int {
        var byte = next.load(as: UInt8.self)
        next += 1
        if byte < 0x80 { return Int(byte) }
        var result = Int(byte & 0x7f)
        var shift = 7
        repeat {
            byte = next.load(as: UInt8.self)
            next += 1
            result |= Int(byte & 0x7f) << shift
            shift += 7
        } while byte >= 0x80
        return result
    }

    @inline(__always) private mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> T {
        defer { next += MemoryLayout<T>.size }
        return T(littleEndian: next.loadUnaligned(as: T.self))
    }

    /// Moves to the next cell; false at the end.
    @inline(__always) public mutating func advance() -> Bool {
        guard next < end else { return false }
        column = varint()
        flags = CellFlags(rawValue: next.load(as: UInt8.self))
        next += 1
        timestamp = flags.contains(.sameTimestamp) ? base : fixed(Int64.self)
        ttl = 0
        localDeletion = .max
        if !flags.isDisjoint(with: [.tombstone, .complexDeletion]) {
            localDeletion = fixed(UInt32.self)
        } else if flags.contains(.expiring) {
            ttl = fixed(UInt32.self)
            localDeletion = fixed(UInt32.self)
        }
        if flags.contains(.hasPath) {
            let length = varint()
            path = UnsafeRawBufferPointer(start: next, count: length)
            next += length
        } else {
            path = UnsafeRawBufferPointer(start: nil, count: 0)
        }
        if flags.isDisjoint(with: [.tombstone, .complexDeletion]) {
            let length = varint()
            value = UnsafeRawBufferPointer(start: next, count: length)
            next += length
        } else {
            value = UnsafeRawBufferPointer(start: nil, count: 0)
        }
        return true
    }

    @inlinable public var isComplexDeletion: Bool { flags.contains(.complexDeletion) }
    @inlinable public var isTombstone: Bool { flags.contains(.tombstone) }
    @inlinable public var isExpiring: Bool { flags.contains(.expiring) }

    /// Whether the cell has a value at `now`, in seconds since 1970.
    @inlinable public func isLive(now: UInt32) -> Bool {
        flags.isDisjoint(with: [.tombstone, .complexDeletion]) && (!flags.contains(.expiring) || localDeletion > now)
    }

    /// The deletion time of a tombstone or complex deletion.
    @inlinable public var deletion: DeletionTime { DeletionTime(timestamp: timestamp, localDeletion: localDeletion) }
}
