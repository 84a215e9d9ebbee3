import Primitives

/// Walks the cells of a row in place.
///
/// SAFETY: borrows the row's bytes, which must be well formed (`RowView.validate` for bytes of another process) and outlive the cursor.
public struct CellCursor {
    @usableFromInline var next: UnsafeRawPointer
    @usableFromInline let end: UnsafeRawPointer
    @usableFromInline let base: Int64

    /// Id of the column, `ColumnMetadata.id`.
    public private(set) var column: Int = -1
    public private(set) var flags: CellFlags = []
    /// Microseconds since 1970.
    public private(set) var timestamp: Int64 = .min
    /// Seconds; 0 without a time to live.
    public private(set) var ttl: UInt32 = 0
    /// Seconds since 1970: when an expiring cell ends or a tombstone was made; `UInt32.max` for a plain live cell.
    public private(set) var localDeletion: UInt32 = .max
    /// The byte-comparable key of a collection's cell; empty for a plain column.
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

    /// Whether the cell holds a value at `now`, in seconds since 1970.
    @inlinable public func isLive(now: UInt32) -> Bool {
        flags.isDisjoint(with: [.tombstone, .complexDeletion]) && (!flags.contains(.expiring) || localDeletion > now)
    }

    /// The deletion a complex deletion or a tombstone stands for.
    @inlinable public var deletion: DeletionTime { DeletionTime(timestamp: timestamp, localDeletion: localDeletion) }
}
