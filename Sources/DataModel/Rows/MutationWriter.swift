import Primitives

/// Encodes mutations. The coordinator encodes once; the same bytes go to the commit log, the memtables and the other
/// replicas.
///
///     mutations := mutation*
///     mutation  := table (16) length (4, little-endian, of what follows) operation*
///     operation := 0x01 keyLength (4) rowLength (4) key row            a row, `RowFormat`
///                | 0x02 startLength (4) endLength (4) start end timestamp (8) local (4)     a range tombstone
///
/// All keys of a mutation belong to the same partition. Example:
///
///     writer.beginTable(id)
///     writer.beginRow(key: key, timestamp: now, liveness: true)
///     writer.cell(column: 0, timestamp: now, value: bytes)
///     writer.endRow()
///     writer.endTable()
public struct MutationWriter: ~Copyable {
    /// The bytes written so far.
    public var out: ByteWriter
    private var row = RowWriter()
    private var tableStart = 0
    private var rowStart = 0
    private var keyCount = 0
    /// The number of completed mutations.
    public private(set) var mutationCount = 0

    public init(capacity: Int = 1024) { out = ByteWriter(capacity: capacity) }

    public var count: Int { out.count }

    public mutating func removeAll() {
        out.removeAll()
        mutationCount = 0
    }

    public mutating func beginTable(_ id: UUID) {
        out.writeBE(id.high)
        out.writeBE(id.low)
        tableStart = out.count
        out.writeLE(UInt32(0))
    }

    public mutating func endTable() {
        out.patchLE(UInt32(out.count - tableStart - 4), at: tableStart)
        mutationCount += 1
    }

    /// Begins a row; `RowWriter.begin` describes the parameters.
    public mutating func beginRow(
        key: borrowing ByteWriter, timestamp: Int64, liveness: Bool, ttl: UInt32 = 0, expires: UInt32 = .max,
        deletion: DeletionTime = .none
    ) {
        out.write(1)
        rowStart = out.count
        keyCount = key.count
        out.writeLE(UInt32(keyCount))
        out.writeLE(UInt32(0))
        out.write(key.bytes)
        row.begin(timestamp: timestamp, liveness: liveness, ttl: ttl, expires: expires, deletion: deletion, into: &out)
    }

    @inline(__always) public mutating func cell(
        column: Int, timestamp: Int64, ttl: UInt32 = 0, expires: UInt32 = .max, value: UnsafeRawBufferPointer,
        isCounter: Bool = false
    ) {
        row.cell(
            column: column, timestamp: timestamp, ttl: ttl, expires: expires, value: value, isCounter: isCounter,
            into: &out)
    }

    public mutating func cell(
        column: Int, path: UnsafeRawBufferPointer, timestamp: Int64, ttl: UInt32 = 0, expires: UInt32 = .max,
        value: UnsafeRawBufferPointer
    ) {
        row.cell(column: column, path: path, timestamp: timestamp, ttl: ttl, expires: expires, value: value, into: &out)
    }

    public mutating func tombstone(column: Int, deletion: DeletionTime) {
        row.tombstone(column: column, deletion: deletion, into: &out)
    }

    public mutating func tombstone(column: Int, path: UnsafeRawBufferPointer, deletion: DeletionTime) {
        row.tombstone(column: column, path: path, deletion: deletion, into: &out)
    }

    public mutating func complexDeletion(column: Int, deletion: DeletionTime) {
        row.complexDeletion(column: column, deletion: deletion, into: &out)
    }

    public mutating func endRow() {
        row.end(into: &out)
        out.patchLE(UInt32(out.count - rowStart - 8 - keyCount), at: rowStart + 4)
    }

    /// Appends an encoded row.
    public mutating func row(key: UnsafeRawBufferPointer, encoded: UnsafeRawBufferPointer) {
        out.write(1)
        out.writeLE(UInt32(key.count))
        out.writeLE(UInt32(encoded.count))
        out.write(key)
        out.write(encoded)
    }

    /// Deletes everything in `start ..< end`, which must lie within one partition.
    public mutating func deleteRange(start: UnsafeRawBufferPointer, end: UnsafeRawBufferPointer, deletion: DeletionTime)
    {
        out.write(2)
        out.writeLE(UInt32(start.count))
        out.writeLE(UInt32(end.count))
        out.write(start)
        out.write(end)
        out.writeLE(deletion.timestamp)
        out.writeLE(deletion.localDeletion)
    }

    public mutating func deleteRange(_ range: KeyRange, deletion: DeletionTime) {
        range.start.withUnsafeBytes { start in
            range.end.withUnsafeBytes { end in deleteRange(start: start, end: end, deletion: deletion) }
        }
    }
}
