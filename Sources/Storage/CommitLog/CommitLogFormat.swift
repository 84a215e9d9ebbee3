import Primitives

/// The file format of a commit-log segment.
///
///     segment := header chunk* [end]
///     header  := magic (8) version (4) zero (4) segment (8) boot (8) checksum (8)                      40 bytes
///     chunk   := payloadLength (4) records (4) syncedSegment (8) syncedOffset (8) payloadChecksum (8)
///                headerChecksum (8) payload, padded to 8
///     payload := (length (4) mutations)*
///     end     := a chunk header with payloadLength FFFFFFFF: the segment is complete
///
/// All numbers are little-endian. A chunk is what one flush wrote. The checksum of a chunk's header is seeded with the
/// segment's number and the chunk's offset, so that remains of an earlier use of a recycled file never pass. `synced`
/// is the position up to which the log was known to be on disk when the chunk was written: a hole below a later chunk's
/// `synced` is damage, not a torn tail.
///
/// Part of the file format; do not change.
enum CommitLogFormat {
    static let magic: UInt64 = 0x4155_5350_434c_4f47  // "AUSPCLOG"
    static let version: UInt32 = 1
    static let headerBytes = 40
    static let chunkHeaderBytes = 40
    static let endMark = UInt32.max

    static func header(segment: UInt64, boot: UInt64) -> [UInt8] {
        var out = ByteWriter(capacity: headerBytes)
        out.writeLE(magic)
        out.writeLE(version)
        out.writeLE(UInt32(0))
        out.writeLE(segment)
        out.writeLE(boot)
        out.writeLE(Checksum.xxh3(out.bytes))
        return out.toArray()
    }

    /// Returns the segment's number and the boot id; nil when the header is not valid.
    static func parseHeader(_ bytes: UnsafeRawBufferPointer) -> (segment: UInt64, boot: UInt64)? {
        guard bytes.count >= headerBytes else { return nil }
        func word(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard word(0) == magic, UInt32(truncatingIfNeeded: word(8)) == version,
            Checksum.xxh3(UnsafeRawBufferPointer(rebasing: bytes[..<32])) == word(32)
        else { return nil }
        return (word(16), word(24))
    }

    /// Encodes the chunk header that ends a segment.
    static func endHeader(at position: LogPosition) -> [UInt8] {
        var out = ByteWriter(capacity: chunkHeaderBytes)
        out.writeLE(endMark)
        out.writeLE(UInt32(0))
        out.writeLE(position.segment)
        out.writeLE(UInt64(position.offset))
        out.writeLE(Checksum.xxh3(UnsafeRawBufferPointer(start: nil, count: 0)))
        out.writeLE(Checksum.xxh3(out.bytes, seed: headerSeed(position)))
        return out.toArray()
    }

    @inline(__always) static func headerSeed(_ position: LogPosition) -> UInt64 {
        position.segment &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(position.offset)
    }

    /// A decoded chunk header.
    struct ChunkHeader {
        var payloadCount: Int
        var recordCount: Int
        var synced: LogPosition
        var payloadChecksum: UInt64
        var isEnd: Bool
        /// Bytes of the whole chunk in the file, with header and padding.
        var storedCount: Int { isEnd ? chunkHeaderBytes : chunkHeaderBytes + (payloadCount + 7) & ~7 }
    }

    /// Decodes a chunk header; nil when there is no valid one at `position`.
    static func parseChunkHeader(_ bytes: UnsafeRawBufferPointer, at position: LogPosition) -> ChunkHeader? {
        guard bytes.count - position.offset >= chunkHeaderBytes else { return nil }
        let header = UnsafeRawBufferPointer(rebasing: bytes[position.offset..<position.offset + chunkHeaderBytes])
        func word(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: header.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard word(32) == Checksum.xxh3(UnsafeRawBufferPointer(rebasing: header[..<32]), seed: headerSeed(position))
        else { return nil }
        let count = UInt32(truncatingIfNeeded: word(0))
        return ChunkHeader(
            payloadCount: count == endMark ? 0 : Int(count),
            recordCount: Int(UInt32(truncatingIfNeeded: word(0) >> 32)),
            synced: LogPosition(segment: word(8), offset: Int(truncatingIfNeeded: word(16) & 0xffff_ffff_ffff)),
            payloadChecksum: word(24),
            isEnd: count == endMark)
    }
}
