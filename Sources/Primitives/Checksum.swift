import CXXHash

/// Checksums. XXH3 (xxhash.com) protects everything this server stores.
public enum Checksum {
    /// Returns the 64-bit XXH3 of the bytes, with a seed.
    @inline(__always) public static func xxh3(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
        auspex_xxh3(bytes.baseAddress, bytes.count, seed)
    }

    public static func xxh3(_ bytes: [UInt8], seed: UInt64 = 0) -> UInt64 {
        bytes.withUnsafeBytes { xxh3($0, seed: seed) }
    }
}
