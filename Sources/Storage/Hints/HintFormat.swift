import Primitives

/// The file format of a hint segment.
///
///     segment := header record* [end]
///     header  := magic (8) version (4) zero (4) target (16) segment (8) checksum (8)                          48 bytes
///     record  := mutationBytes (4) created (4) grace (4) zero (4) payloadChecksum (8) headerChecksum (8)
///                mutations padding
///     end     := a record's 32 bytes with mutationBytes = FFFFFFFF: the segment is complete
///
/// All numbers are little-endian, except the target's id. The checksum of a record's header is seeded with the
/// segment's number and the record's offset, so that no bytes inside a mutation pass for a record.
///
/// Part of the file format; do not change.
enum HintFormat {
    static let magic: UInt64 = 0x4155_5350_4849_4e54  // "AUSPHINT"
    static let version: UInt32 = 1
    static let headerBytes = 48
    static let recordHeaderBytes = 32
    static let endMark = UInt32.max
    /// The maximum bytes of mutations in a record; a header with more is invalid.
    static let largestMutations = 256 << 20

    /// A decoded record header.
    struct RecordHeader: Equatable {
        var mutationCount: Int
        var created: UInt32
        var grace: UInt32
        var payloadChecksum: UInt64
        var isEnd: Bool
        /// Bytes of the whole record in the file.
        var storedCount: Int { HintFormat.storedCount(mutations: mutationCount) }
    }

    enum HeaderProblem: Error, Equatable {
        /// Not a header, or the header of another segment.
        case damaged
        case version(UInt32)
    }

    static func storedCount(mutations: Int) -> Int { recordHeaderBytes + (mutations + 7) & ~7 }

    static func header(target: UUID, segment: UInt64) -> [UInt8] {
        var out = ByteWriter(capacity: headerBytes)
        out.writeLE(magic)
        out.writeLE(version)
        out.writeLE(UInt32(0))
        out.writeBE(target.high)
        out.writeBE(target.low)
        out.writeLE(segment)
        out.writeLE(Checksum.xxh3(out.bytes))
        return out.toArray()
    }

    static func checkHeader(_ bytes: UnsafeRawBufferPointer, target: UUID, segment: UInt64) throws(HeaderProblem) {
        guard bytes.count >= headerBytes, word(bytes, 0) == magic,
            Checksum.xxh3(UnsafeRawBufferPointer(rebasing: bytes[..<40])) == word(bytes, 40)
        else { throw .damaged }
        let found = UInt32(truncatingIfNeeded: word(bytes, 8))
        guard found == version else { throw .version(found) }
        guard word(bytes, 16).byteSwapped == target.high, word(bytes, 24).byteSwapped == target.low,
            word(bytes, 32) == segment
        else { throw .damaged }
    }

    /// Appends a record without its header checksum; `place` adds that once the record's offset is known.
    static func appendRecord(
        _ mutations: UnsafeRawBufferPointer, created: UInt32, grace: UInt32, payloadChecksum: UInt64,
        to out: inout [UInt8]
    ) {
        append(UInt32(mutations.count), to: &out)
        append(created, to: &out)
        append(grace, to: &out)
        append(UInt32(0), to: &out)
        append(payloadChecksum, to: &out)
        append(UInt64(0), to: &out)
        out.append(contentsOf: mutations)
        out.append(contentsOf: repeatElement(0, count: -mutations.count & 7))
    }

    /// Sets the header checksum of the record at `index`, which will be written at `offset` of `segment`.
    static func place(_ out: inout [UInt8], at index: Int, segment: UInt64, offset: Int) {
        precondition(out.count - index >= recordHeaderBytes, "no record at \(index) of \(out.count) bytes")
        let checksum = out.withUnsafeBytes { bytes in
            Checksum.xxh3(
                UnsafeRawBufferPointer(rebasing: bytes[index..<index + 24]),
                seed: seed(segment: segment, offset: offset))
        }
        for byte in 0..<8 { out[index + 24 + byte] = UInt8(truncatingIfNeeded: checksum >> UInt64(byte * 8)) }
    }

    /// Returns the mutation bytes of the record at `index`, which this process encoded.
    static func mutationCount(_ out: [UInt8], at index: Int) -> Int {
        Int(out[index]) | Int(out[index + 1]) << 8 | Int(out[index + 2]) << 16 | Int(out[index + 3]) << 24
    }

    static func created(_ out: [UInt8], at index: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(out[index + 4 + $1]) << UInt32($1 * 8) }
    }

    /// Encodes the end record of a segment.
    static func end(segment: UInt64, offset: Int) -> [UInt8] {
        var out: [UInt8] = []
        append(endMark, to: &out)
        out.append(contentsOf: repeatElement(0, count: recordHeaderBytes - 4))
        place(&out, at: 0, segment: segment, offset: offset)
        return out
    }

    /// Decodes a record header; nil when there is no valid one for `offset`.
    static func parseRecord(_ bytes: UnsafeRawBufferPointer, segment: UInt64, offset: Int) -> RecordHeader? {
        guard bytes.count >= recordHeaderBytes,
            Checksum.xxh3(UnsafeRawBufferPointer(rebasing: bytes[..<24]), seed: seed(segment: segment, offset: offset))
                == word(bytes, 24)
        else { return nil }
        let count = UInt32(truncatingIfNeeded: word(bytes, 0))
        guard count == endMark || Int(count) <= largestMutations else { return nil }
        return RecordHeader(
            mutationCount: count == endMark ? 0 : Int(count), created: UInt32(truncatingIfNeeded: word(bytes, 0) >> 32),
            grace: UInt32(truncatingIfNeeded: word(bytes, 8)), payloadChecksum: word(bytes, 16), isEnd: count == endMark
        )
    }

    private static func seed(segment: UInt64, offset: Int) -> UInt64 {
        segment &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(truncatingIfNeeded: offset)
    }

    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private static func append<T: FixedWidthInteger>(_ value: T, to out: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) }
    }
}
