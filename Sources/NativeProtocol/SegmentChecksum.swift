/// The checksums of v5 segments: a CRC24 for the header, a CRC32 (zlib's polynomial) for the payload.
///
/// **Thread safety**: the tables are built once and never change.
enum SegmentChecksum {
    /// The initial value of CRC24, so that zeros do not pass. Part of the protocol; do not change.
    static let crc24Start: UInt32 = 0x87_5060
    static let crc24Polynomial: UInt32 = 0x197_4F0B
    /// CRC32 starts with these four bytes, followed by the payload. Part of the protocol; do not change.
    static let crc32Prefix: [UInt8] = [0xFA, 0x2D, 0x55, 0xCA]

    /// SAFETY: the tables are written before they are shared, and never freed.
    private struct Tables: @unchecked Sendable {
        /// Eight tables of 256 entries each (Kounavis and Berry, slicing-by-8).
        let crc32: UnsafePointer<UInt32>
        /// The inverted register after `crc32Prefix`.
        let crc32Start: UInt32
        let crc24: UnsafePointer<UInt32>

        init() {
            let sliced = UnsafeMutablePointer<UInt32>.allocate(capacity: 8 * 256)
            for byte in 0..<256 {
                var value = UInt32(byte)
                for _ in 0..<8 { value = value & 1 != 0 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
                sliced[byte] = value
            }
            for slice in 1..<8 {
                for byte in 0..<256 {
                    let before = sliced[(slice - 1) * 256 + byte]
                    sliced[slice * 256 + byte] = before >> 8 ^ sliced[Int(before & 0xFF)]
                }
            }
            crc32 = UnsafePointer(sliced)
            var register = ~UInt32(0)
            for byte in SegmentChecksum.crc32Prefix {
                register = register >> 8 ^ sliced[Int((register ^ UInt32(byte)) & 0xFF)]
            }
            crc32Start = register

            let wide = UnsafeMutablePointer<UInt32>.allocate(capacity: 256)
            for byte in 0..<256 {
                var value = UInt32(byte) << 16
                for _ in 0..<8 {
                    value <<= 1
                    if value & 0x100_0000 != 0 { value ^= SegmentChecksum.crc24Polynomial }
                }
                wide[byte] = value & 0xFF_FFFF
            }
            crc24 = UnsafePointer(wide)
        }
    }

    private static let tables = Tables()

    /// Returns the CRC24 of the `count` low bytes of `header`, least significant byte first. `count` is 3 or 5.
    static func crc24(_ header: UInt64, count: Int) -> UInt32 {
        let table = tables.crc24
        var register = crc24Start
        var rest = header
        for _ in 0..<count {
            register =
                (register << 8 & 0xFF_FFFF) ^ table[Int((register >> 16 ^ UInt32(truncatingIfNeeded: rest)) & 0xFF)]
            rest >>= 8
        }
        return register
    }

    /// Returns the CRC32 of a segment's payload, including the prefix.
    static func crc32(_ payload: UnsafeRawBufferPointer) -> UInt32 {
        let tables = tables
        return ~advance(tables.crc32Start, payload, tables.crc32)
    }

    private static func advance(_ start: UInt32, _ bytes: UnsafeRawBufferPointer, _ table: UnsafePointer<UInt32>)
        -> UInt32
    {
        guard let base = bytes.baseAddress else { return start }
        var register = start
        var offset = 0
        let words = bytes.count & ~7
        while offset < words {
            let low = register ^ UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            let high = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
            let first = table[7 * 256 + Int(low & 0xFF)] ^ table[6 * 256 + Int(low >> 8 & 0xFF)]
            let second = table[5 * 256 + Int(low >> 16 & 0xFF)] ^ table[4 * 256 + Int(low >> 24)]
            let third = table[3 * 256 + Int(high & 0xFF)] ^ table[2 * 256 + Int(high >> 8 & 0xFF)]
            let fourth = table[256 + Int(high >> 16 & 0xFF)] ^ table[Int(high >> 24)]
            register = first ^ second ^ third ^ fourth
            offset += 8
        }
        while offset < bytes.count {
            register =
                register >> 8
                ^ table[Int((register ^ UInt32(base.load(fromByteOffset: offset, as: UInt8.self))) & 0xFF)]
            offset += 1
        }
        return register
    }
}
