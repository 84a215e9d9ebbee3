import Primitives

/// Appends an encoded row to a `ByteWriter`.
///
/// Call `begin`, then the cell methods in any order (by column and path is fastest), then `end`, which sorts the cells
/// if necessary.
public struct RowWriter: ~Copyable {
    private var start = 0
    private var base: Int64 = .min
    private var hasBase = false
    private var lastColumn = -1
    /// The kind of the last cell within its column: 0 complex deletion, 1 plain cell, 2 cell with a path. Cells are
    /// ordered as in `RowMerger`.
    private var lastRank = 0
    private var lastPath = 0..<0
    private var lastWasPath = false
    private var inOrder = true

    public init() {}

    /// - Parameters:
    ///   - timestamp: microseconds since 1970; cells with the same timestamp do not store their own.
    ///   - liveness: whether the row exists without cells (INSERT).
    ///   - ttl: the time to live of the liveness, in seconds; 0 means unlimited.
    ///   - expires: when the liveness expires, in seconds since 1970; ignored when `ttl` is 0.
    ///   - deletion: the row deletion.
    public mutating func begin(
        timestamp: Int64, liveness: Bool, ttl: UInt32 = 0, expires: UInt32 = .max, deletion: DeletionTime = .none,
        into out: inout ByteWriter
    ) {
        start = out.count
        base = timestamp
        hasBase = timestamp != .min
        lastColumn = -1
        lastWasPath = false
        inOrder = true
        var flags: RowFlags = hasBase ? [.hasBase] : []
        if liveness { flags.insert(.hasLiveness) }
        if liveness && ttl > 0 { flags.insert(.livenessExpires) }
        if !deletion.isNone { flags.insert(.hasDeletion) }
        out.write(flags.rawValue)
        if hasBase { out.writeLE(timestamp) }
        if liveness && ttl > 0 {
            out.writeLE(ttl)
            out.writeLE(expires)
        }
        if !deletion.isNone {
            out.writeLE(deletion.timestamp)
            out.writeLE(deletion.localDeletion)
        }
    }

    @inline(__always) private mutating func head(
        _ column: Int, _ flags: CellFlags, _ timestamp: Int64, _ out: inout ByteWriter
    ) {
        let rank = flags.contains(.complexDeletion) ? 0 : flags.contains(.hasPath) ? 2 : 1
        if column <= lastColumn && (column < lastColumn || rank < lastRank || (rank == lastRank && rank < 2)) {
            inOrder = false
        }
        if column != lastColumn { lastWasPath = false }
        lastColumn = column
        lastRank = rank
        out.writeVarint(column)
        let same = hasBase && timestamp == base
        out.write(same ? flags.union(.sameTimestamp).rawValue : flags.rawValue)
        if !same { out.writeLE(timestamp) }
    }

    @inline(__always) private mutating func putPath(_ path: UnsafeRawBufferPointer, _ out: inout ByteWriter) {
        out.writeVarint(path.count)
        let from = out.count
        out.write(path)
        if lastWasPath && compareBytes(UnsafeRawBufferPointer(rebasing: out.bytes[lastPath]), path) >= 0 {
            inOrder = false
        }
        lastPath = from..<out.count
        lastWasPath = true
    }

    /// Appends a live cell. `expires` is ignored without a `ttl`.
    @inline(__always) public mutating func cell(
        column: Int, timestamp: Int64, ttl: UInt32 = 0, expires: UInt32 = .max, value: UnsafeRawBufferPointer,
        isCounter: Bool = false, into out: inout ByteWriter
    ) {
        var flags: CellFlags = ttl > 0 ? [.expiring] : []
        if isCounter { flags.insert(.counter) }
        head(column, flags, timestamp, &out)
        if ttl > 0 {
            out.writeLE(ttl)
            out.writeLE(expires)
        }
        out.writeVarint(value.count)
        out.write(value)
    }

    /// Appends a live cell of a collection; `path` is byte-comparable (`KeyEncoding.encodePath`).
    public mutating func cell(
        column: Int, path: UnsafeRawBufferPointer, timestamp: Int64, ttl: UInt32 = 0, expires: UInt32 = .max,
        value: UnsafeRawBufferPointer, into out: inout ByteWriter
    ) {
        head(column, ttl > 0 ? [.hasPath, .expiring] : [.hasPath], timestamp, &out)
        if ttl > 0 {
            out.writeLE(ttl)
            out.writeLE(expires)
        }
        putPath(path, &out)
        out.writeVarint(value.count)
        out.write(value)
    }

    /// Appends a cell tombstone.
    public mutating func tombstone(column: Int, deletion: DeletionTime, into out: inout ByteWriter) {
        head(column, [.tombstone], deletion.timestamp, &out)
        out.writeLE(deletion.localDeletion)
    }

    /// Appends a tombstone of a collection's cell.
    public mutating func tombstone(
        column: Int, path: UnsafeRawBufferPointer, deletion: DeletionTime, into out: inout ByteWriter
    ) {
        head(column, [.tombstone, .hasPath], deletion.timestamp, &out)
        out.writeLE(deletion.localDeletion)
        putPath(path, &out)
    }

    /// Appends a complex deletion, which deletes every cell of a collection up to the deletion's timestamp.
    public mutating func complexDeletion(column: Int, deletion: DeletionTime, into out: inout ByteWriter) {
        head(column, [.complexDeletion], deletion.timestamp, &out)
        out.writeLE(deletion.localDeletion)
    }

    /// Ends the row. Sorts cells that were appended out of order; of two cells at one place the winner remains.
    public mutating func end(into out: inout ByteWriter) {
        if !inOrder { RowWriter.putInOrder(from: start, in: &out) }
    }

    /// Splits the row into one-cell rows and merges them.
    private static func putInOrder(from start: Int, in out: inout ByteWriter) {
        let whole = [UInt8](UnsafeRawBufferPointer(rebasing: out.bytes[start...]))
        whole.withUnsafeBytes { raw in
            let row = RowView(raw)
            var pieces: [[UInt8]] = []
            var cursor = row.cells
            let head = UnsafeRawBufferPointer(rebasing: raw[..<(cursor.next - raw.baseAddress.unsafelyUnwrapped)])
            var from = head.count
            while cursor.advance() {
                let to = cursor.next - raw.baseAddress.unsafelyUnwrapped
                pieces.append([UInt8](head) + [UInt8](raw[from..<to]))
                from = to
            }
            // Merge as a balanced tree: n cells cost O(n log n).
            var merged = ByteWriter(capacity: whole.count + 64)
            let merger = RowMerger()
            while pieces.count > 1 {
                var level: [[UInt8]] = []
                var index = 0
                while index < pieces.count {
                    if index + 1 == pieces.count {
                        level.append(pieces[index])
                    } else {
                        merged.removeAll()
                        pieces[index].withUnsafeBytes { left in
                            pieces[index + 1].withUnsafeBytes { right in
                                merger.begin()
                                merger.add(RowView(left))
                                merger.add(RowView(right))
                                _ = merger.merge(shadow: .none, purge: nil, into: &merged)
                            }
                        }
                        level.append(merged.toArray())
                    }
                    index += 2
                }
                pieces = level
            }
            out.truncate(to: start)
            out.write(pieces[0])
        }
    }
}
