import Primitives

/// The file format of an sstable; `Storage.docc/SSTableFormat.md` has the whole grammar.
///
/// All numbers here are part of the file format; do not change.
public enum SSTableFormat {
    static let magic: UInt64 = 0x4155_5350_5353_5431  // "AUSPSST1"
    public static let version: UInt32 = 3
    /// The versions this server reads. Version 2 lacks `SSTableStatistics.parts`.
    static let knownVersions: ClosedRange<UInt32> = 2...3
    static let headerBytes = 16
    /// The trailer after each part's bytes: codec (1), decompressed size (4), XXH3 (8).
    static let trailerBytes = 13
    static let footerBytes = 96
    /// The whole-file digest is computed over pieces of this size.
    static let digestPieceBytes = 1 << 20
    static let indexBlockBytes = 8 << 10
    static let tombstoneBlockBytes = 8 << 10
    static let largestBlockBytes = 1 << 30

    /// The checksum of a stored part: over its bytes, seeded with its offset, codec and decompressed size, so that a
    /// part read from a wrong offset fails.
    @inline(__always) static func checksum(
        _ stored: UnsafeRawBufferPointer, codec: UInt8, decompressed: UInt32, offset: Int
    ) -> UInt64 {
        Checksum.xxh3(
            stored, seed: UInt64(truncatingIfNeeded: offset) ^ UInt64(codec) << 56 ^ UInt64(decompressed) << 24)
    }
}

/// The place of a stored part in its file.
public struct BlockHandle: Sendable, Equatable {
    /// The offset from the start of the file, in bytes.
    public var offset: Int
    /// The size in bytes, including the trailer.
    public var count: Int

    func encode(into out: inout ByteWriter) {
        out.writeVarint(offset)
        out.writeVarint(count)
    }

    /// Decodes the value of an index entry.
    init(decoding bytes: UnsafeRawBufferPointer) throws(ByteError) {
        var reader = ByteReader(bytes)
        offset = try reader.readCount()
        count = try reader.readCount()
    }

    init(offset: Int, count: Int) {
        self.offset = offset
        self.count = count
    }
}

/// The footer: the last bytes of an sstable's file.
struct SSTableFooter: Equatable {
    var root: BlockHandle
    var tombstones: BlockHandle
    var filter: BlockHandle
    var statistics: BlockHandle
    /// XXH3 over everything before the footer, chained over pieces of `digestPieceBytes`.
    var digest: UInt64
    var version = SSTableFormat.version

    func encode() -> [UInt8] {
        var out = ByteWriter(capacity: SSTableFormat.footerBytes)
        for handle in [root, tombstones, filter, statistics] {
            out.writeLE(UInt64(handle.offset))
            out.writeLE(UInt64(handle.count))
        }
        out.writeLE(digest)
        out.writeLE(version)
        out.writeLE(UInt32(0))
        out.writeLE(Checksum.xxh3(out.bytes))
        out.writeLE(SSTableFormat.magic)
        return out.toArray()
    }

    /// The version stated in a valid footer, even if this server does not know it.
    static func version(of bytes: [UInt8]) -> UInt32? {
        guard bytes.count == SSTableFormat.footerBytes else { return nil }
        let (version, checksum, magic) = bytes.withUnsafeBytes { raw in
            (
                UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 72, as: UInt32.self)),
                UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 80, as: UInt64.self)),
                UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 88, as: UInt64.self))
            )
        }
        return magic == SSTableFormat.magic && checksum == Checksum.xxh3(Array(bytes[..<80])) ? version : nil
    }

    /// Decodes a footer; nil when it is not valid.
    init?(decoding bytes: [UInt8]) {
        guard bytes.count == SSTableFormat.footerBytes else { return nil }
        let fields = bytes.withUnsafeBytes { raw in
            (0..<12).map { UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
        }
        version = UInt32(truncatingIfNeeded: fields[9])
        guard fields[11] == SSTableFormat.magic, SSTableFormat.knownVersions.contains(version),
            Checksum.xxh3(Array(bytes[..<80])) == fields[10], fields[..<8].allSatisfy({ $0 < 1 << 48 })
        else { return nil }
        root = BlockHandle(offset: Int(fields[0]), count: Int(fields[1]))
        tombstones = BlockHandle(offset: Int(fields[2]), count: Int(fields[3]))
        filter = BlockHandle(offset: Int(fields[4]), count: Int(fields[5]))
        statistics = BlockHandle(offset: Int(fields[6]), count: Int(fields[7]))
        digest = fields[8]
    }

    init(root: BlockHandle, tombstones: BlockHandle, filter: BlockHandle, statistics: BlockHandle, digest: UInt64) {
        self.root = root
        self.tombstones = tombstones
        self.filter = filter
        self.statistics = statistics
        self.digest = digest
    }
}
