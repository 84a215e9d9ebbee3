import CXXHash

/// Checksums and hashes of bytes. XXH3 (xxhash.com) guards what we store; the CRCs are the native protocol's.
public enum Checksum {
    /// XXH3, 64 bits, with a seed.
    @inline(__always) public static func xxh3(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
        auspex_xxh3(bytes.baseAddress, bytes.count, seed)
    }

    public static func xxh3(_ bytes: [UInt8], seed: UInt64 = 0) -> UInt64 {
        bytes.withUnsafeBytes { xxh3($0, seed: seed) }
    }
}
