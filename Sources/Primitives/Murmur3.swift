/// Cassandra's variant of MurmurHash3 x64/128, the first half of which is the token of a partition key.
///
/// It differs from the original in that tail bytes are sign-extended. Source: the documented behavior of Apache
/// Cassandra's partitioner, verified against tokens computed by drivers.
public enum Murmur3 {
    @inline(__always) private static func fmix(_ value: UInt64) -> UInt64 {
        var k = value
        k ^= k >> 33
        k = k &* 0xff51_afd7_ed55_8ccd
        k ^= k >> 33
        k = k &* 0xc4ce_b9fe_1a85_ec53
        k ^= k >> 33
        return k
    }

    @inline(__always) private static func rotl(_ value: UInt64, _ bits: UInt64) -> UInt64 {
        (value << bits) | (value >> (64 - bits))
    }

    /// Returns the token of a serialized partition key; never `Int64.min`, which is reserved for the ring's start.
    public static func token(_ key: UnsafeRawBufferPointer) -> Int64 {
        let c1: UInt64 = 0x87c3_7b91_1142_53d5
        let c2: UInt64 = 0x4cf5_ad43_2745_937f
        var h1: UInt64 = 0
        var h2: UInt64 = 0
        let blocks = key.count / 16
        for block in 0..<blocks {
            var k1 = UInt64(littleEndian: key.loadUnaligned(fromByteOffset: block * 16, as: UInt64.self))
            var k2 = UInt64(littleEndian: key.loadUnaligned(fromByteOffset: block * 16 + 8, as: UInt64.self))
            k1 = rotl(k1 &* c1, 31) &* c2
            h1 ^= k1
            h1 = (rotl(h1, 27) &+ h2) &* 5 &+ 0x52dc_e729
            k2 = rotl(k2 &* c2, 33) &* c1
            h2 ^= k2
            h2 = (rotl(h2, 31) &+ h1) &* 5 &+ 0x3849_5ab5
        }
        let tail = blocks * 16
        let left = key.count - tail
        @inline(__always) func signed(_ index: Int) -> UInt64 {
            UInt64(bitPattern: Int64(Int8(bitPattern: key[tail + index])))
        }
        if left > 8 {
            var k2: UInt64 = 0
            for index in stride(from: left - 1, through: 8, by: -1) { k2 ^= signed(index) << UInt64((index - 8) * 8) }
            h2 ^= rotl(k2 &* c2, 33) &* c1
        }
        if left > 0 {
            var k1: UInt64 = 0
            for index in stride(from: min(left, 8) - 1, through: 0, by: -1) { k1 ^= signed(index) << UInt64(index * 8) }
            h1 ^= rotl(k1 &* c1, 31) &* c2
        }
        h1 ^= UInt64(key.count)
        h2 ^= UInt64(key.count)
        h1 = h1 &+ h2
        h2 = h2 &+ h1
        h1 = fmix(h1)
        h2 = fmix(h2)
        h1 = h1 &+ h2
        let token = Int64(bitPattern: h1)
        return token == Int64.min ? Int64.max : token
    }

    public static func token(_ key: [UInt8]) -> Int64 { key.withUnsafeBytes { token($0) } }
}
