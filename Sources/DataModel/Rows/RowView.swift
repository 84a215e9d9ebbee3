import Primitives

/// A view of an encoded row (`RowFormat`).
///
/// SAFETY: borrows the bytes; a visitor must not keep the view.
public struct RowView {
    /// The encoded row.
    public let bytes: UnsafeRawBufferPointer

    @inlinable public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    @inlinable public var flags: RowFlags { RowFlags(rawValue: bytes[0]) }

    @inline(__always) private func load<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: T.Type) -> T {
        T(littleEndian: (bytes.baseAddress.unsafelyUnwrapped + offset).loadUnaligned(as: T.self))
    }

    /// The timestamp of the liveness and of all cells without a timestamp of their own.
    @inline(__always) public var base: Int64 { flags.contains(.hasBase) ? load(1, Int64.self) : .min }

    @inlinable public var hasLiveness: Bool { flags.contains(.hasLiveness) }

    /// The timestamp of the INSERT that created the row; `Int64.min` when there is no liveness.
    public var livenessTimestamp: Int64 { hasLiveness ? base : .min }

    @inline(__always) private var expiryOffset: Int { flags.contains(.hasBase) ? 9 : 1 }

    /// Seconds; 0 when the liveness does not expire.
    public var livenessTTL: UInt32 { flags.contains(.livenessExpires) ? load(expiryOffset, UInt32.self) : 0 }
    /// When the liveness expires, in seconds since 1970; `UInt32.max` when it does not.
    public var livenessExpires: UInt32 { flags.contains(.livenessExpires) ? load(expiryOffset + 4, UInt32.self) : .max }

    /// The row deletion.
    public var deletion: DeletionTime {
        guard flags.contains(.hasDeletion) else { return .none }
        let offset = expiryOffset + (flags.contains(.livenessExpires) ? 8 : 0)
        return DeletionTime(timestamp: load(offset, Int64.self), localDeletion: load(offset + 8, UInt32.self))
    }

    /// The cells in order.
    @inline(__always) public var cells: CellCursor {
        let flags = flags
        let offset =
            (flags.contains(.hasBase) ? 9 : 1) + (flags.contains(.livenessExpires) ? 8 : 0)
            + (flags.contains(.hasDeletion) ? 12 : 0)
        let start = bytes.baseAddress.unsafelyUnwrapped
        return CellCursor(next: start + offset, end: start + bytes.count, base: base)
    }

    /// Whether a reader at `now` (seconds since 1970) sees the row: its liveness has not expired, or it has a live
    /// cell.
    public func isLive(now: UInt32) -> Bool {
        if hasLiveness && livenessExpires > now { return true }
        var cursor = cells
        while cursor.advance() {
            if cursor.isLive(now: now) { return true }
        }
        return false
    }
}

extension RowView {
    /// The newest timestamp in the row; `Int64.min` when there is none.
    public var newestTimestamp: Int64 {
        var newest = max(livenessTimestamp, deletion.timestamp)
        var cursor = cells
        while cursor.advance() { newest = max(newest, cursor.timestamp) }
        return newest
    }
}
