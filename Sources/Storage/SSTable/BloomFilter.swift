#if canImport(Glibc)
    import Glibc
#endif
import Primitives

/// A Bloom filter in which all probes for one key hit the same cache line (Putze, Sanders and Singler 2007).
///
///     filter := probes (4, little-endian) lines (4) line{64 bytes}*
///
/// The high half of a key's hash chooses the line, the low half the bits in it.
/// **Thread safety**: immutable once built.
/// SAFETY: owns the memory of `lines`, aligned to 64.
public final class BloomFilter: @unchecked Sendable {
    /// A view of the filter's memory; a trivial type.
    ///
    /// SAFETY: valid as long as the filter.
    struct Lines: @unchecked Sendable {
        let base: UnsafeMutableRawPointer
        let count: Int
        let probes: Int

        @inline(__always) func line(_ hash: UInt64) -> UnsafeMutableRawPointer {
            base + Int(((hash >> 32) &* UInt64(count)) >> 32) * lineBytes
        }

        /// Returns false only when no partition with this hash was added.
        @inline(__always) func mayContain(_ hash: UInt64) -> Bool {
            guard count > 0 else { return true }
            let line = line(hash)
            var bits = UInt32(truncatingIfNeeded: hash)
            for _ in 0..<probes {
                let bit = Int(bits >> 23)
                if line.load(fromByteOffset: bit >> 3, as: UInt8.self) & 1 << UInt8(bit & 7) == 0 { return false }
                bits = bits &* 0x9e37_79b9
            }
            return true
        }
    }

    let lines: Lines

    static let lineBytes = 64

    /// The hash of a partition that `mayContain` takes; the same for all sstables.
    @inline(__always) public static func hash(_ partition: UnsafeRawBufferPointer) -> UInt64 {
        Checksum.xxh3(partition)
    }

    /// - Parameters:
    ///   - hashes: one per partition.
    ///   - count: the number of hashes.
    ///   - falsePositiveRate: `bloom_filter_fp_chance`; with 1 or more the filter has no lines and may contain
    ///     everything.
    public init(hashes: some Sequence<UInt64>, count: Int, falsePositiveRate: Double) {
        let size = BloomFilter.size(keys: count, falsePositiveRate: falsePositiveRate)
        let byteCount = max(1, size.lines) * BloomFilter.lineBytes
        lines = Lines(base: .allocate(byteCount: byteCount, alignment: 64), count: size.lines, probes: size.probes)
        memset(lines.base, 0, byteCount)
        guard lines.count > 0 else { return }
        for hash in hashes {
            let line = lines.line(hash)
            var bits = UInt32(truncatingIfNeeded: hash)
            for _ in 0..<lines.probes {
                let bit = Int(bits >> 23)
                line.storeBytes(
                    of: line.load(fromByteOffset: bit >> 3, as: UInt8.self) | 1 << UInt8(bit & 7),
                    toByteOffset: bit >> 3, as: UInt8.self)
                bits = bits &* 0x9e37_79b9
            }
        }
    }

    /// Decodes a filter; nil when the bytes are not valid.
    init?(decoding bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 8 else { return nil }
        let probes = Int(UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)))
        let count = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        guard probes <= 32, bytes.count - 8 == count * BloomFilter.lineBytes else { return nil }
        lines = Lines(
            base: .allocate(byteCount: max(1, count) * BloomFilter.lineBytes, alignment: 64), count: count,
            probes: probes)
        if count > 0 {
            lines.base.copyMemory(
                from: bytes.baseAddress.unsafelyUnwrapped + 8, byteCount: count * BloomFilter.lineBytes)
        }
    }

    deinit { lines.base.deallocate() }

    func encode(into out: inout ByteWriter) {
        out.writeLE(UInt32(lines.probes))
        out.writeLE(UInt32(lines.count))
        out.write(UnsafeRawBufferPointer(start: lines.base, count: byteCount))
    }

    /// The size of the lines in memory, in bytes.
    public var byteCount: Int { lines.count * BloomFilter.lineBytes }

    /// Returns false only when no partition with this hash was added.
    @inline(__always) public func mayContain(_ hash: UInt64) -> Bool { lines.mayContain(hash) }

    /// The expected false-positive rate: the mean, over the lines, of the chance that all probes hit set bits.
    public var reachedRate: Double {
        guard lines.count > 0 else { return 1 }
        var sum = 0.0
        for index in 0..<lines.count {
            var set = 0
            for word in 0..<8 {
                set += (lines.base + index * 64).load(fromByteOffset: word * 8, as: UInt64.self).nonzeroBitCount
            }
            sum += pow(Double(set) / 512, Double(lines.probes))
        }
        return sum / Double(lines.count)
    }

    private static func size(keys: Int, falsePositiveRate: Double) -> (lines: Int, probes: Int) {
        guard keys > 0, falsePositiveRate < 1 else { return (0, 0) }
        // Keys spread unevenly over the lines, which raises the false-positive rate: use more bits per key, more so for
        // small rates.
        let ideal = -log(max(falsePositiveRate, 1e-6)) / (log(2.0) * log(2.0))
        let bitsPerKey = ideal * (1 + 0.006 * ideal)
        let lines = max(1, Int((Double(keys) * bitsPerKey / 512).rounded(.up)))
        let probes = max(1, min(16, Int((ideal * log(2.0)).rounded())))
        return (lines, probes)
    }
}
