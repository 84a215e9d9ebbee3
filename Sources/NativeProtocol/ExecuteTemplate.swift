import DataModel
import Primitives

/// A template for EXECUTE frames of one statement that differ only in stream and values: everything else is encoded
/// once.
///
/// For clients that send millions of them. Call `begin`, then `value` or `null` for each value, then `finish`.
public struct ExecuteTemplate: Sendable {
    private let prefix: [UInt8]
    /// The number of values in each frame.
    public let valueCount: Int

    /// - Parameter skipMetadata: whether results omit their column descriptions; only if the client knows them.
    public init(
        _ statement: PreparedDescription, version: ProtocolVersion, consistency: Consistency, skipMetadata: Bool = true
    ) {
        valueCount = statement.markers.count
        var out = ByteWriter(capacity: 64)
        out.write(version.rawValue)
        out.write(UInt8(0))
        out.writeBE(Int16(0))
        out.write(Opcode.execute.rawValue)
        out.writeBE(UInt32(0))
        out.writeShortBytes(statement.id)
        if version >= .v5 { out.writeShortBytes(statement.resultMetadataID) }
        out.writeBE(consistency.rawValue)
        var flags: UInt32 = 0
        if valueCount > 0 { flags |= QueryFlag.values }
        if skipMetadata { flags |= QueryFlag.skipMetadata }
        if version >= .v5 { out.writeBE(flags) } else { out.write(UInt8(truncatingIfNeeded: flags)) }
        if valueCount > 0 { out.writeBE(UInt16(valueCount)) }
        prefix = out.toArray()
    }

    /// Writes everything before the values; returns the offset of the frame.
    @inline(__always) public func begin(stream: Int16, into out: inout ByteWriter) -> Int {
        let start = out.count
        out.write(prefix)
        out.patchBE(stream, at: start + 2)
        return start
    }

    /// Appends a value.
    @inline(__always) public static func value(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
        out.writeBE(Int32(truncatingIfNeeded: bytes.count))
        out.write(bytes)
    }

    @inline(__always) public static func null(into out: inout ByteWriter) { out.writeBE(Int32(-1)) }

    /// Sets the frame's length once all values are written.
    @inline(__always) public static func finish(_ start: Int, into out: inout ByteWriter) {
        out.patchBE(UInt32(truncatingIfNeeded: out.count - start - FrameHeader.size), at: start + 5)
    }
}

extension Frame {
    /// The number of rows of a RESULT Rows response without metadata; 0 for another RESULT, nil when the frame must be
    /// decoded to know.
    public var rowCount: Int? {
        guard header.rawOpcode == Opcode.result.rawValue, header.flags & ~FrameFlag.compressed == 0, body.count >= 4
        else { return nil }
        let kind = Int32(bigEndian: body.loadUnaligned(as: Int32.self))
        guard kind == ResultKind.rows else { return 0 }
        guard body.count >= 16 else { return nil }
        let flags = Int32(bigEndian: body.loadUnaligned(fromByteOffset: 4, as: Int32.self))
        guard flags == MetadataFlag.noMetadata else { return nil }
        return Int(Int32(bigEndian: body.loadUnaligned(fromByteOffset: 12, as: Int32.self)))
    }
}
