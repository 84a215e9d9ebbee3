import DataModel
import Fixtures
import Primitives
import Testing

@Suite struct KeyEncodingTests {
    static func encode(_ value: [UInt8], _ type: CQLType, descending: Bool = false) throws -> [UInt8] {
        var out = ByteWriter()
        try value.withUnsafeBytes { raw in
            Result { try KeyEncoding.addClusteringComponent(raw, type: type, descending: descending, into: &out) }
        }.get()
        return out.toArray()
    }

    static func decode(_ bytes: [UInt8], _ type: CQLType, descending: Bool = false) throws -> [UInt8] {
        var out = ByteWriter()
        var offset = 0
        try bytes.withUnsafeBytes { raw in
            Result {
                try KeyEncoding.nextClusteringComponent(
                    raw, at: &offset, type: type, descending: descending, into: &out)
            }
        }.get()
        #expect(offset == bytes.count)
        return out.toArray()
    }

    /// Returns a random native value. Varints and decimals are minimal, so that decoding gives the same bytes.
    static func random(_ type: CQLType, _ random: inout SeededRandom) -> [UInt8] {
        func bytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
            (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        }
        switch type {
        case .int, .float, .date: return bytes(4, &random)
        case .bigint, .timestamp, .time, .double: return bytes(8, &random)
        case .smallint: return bytes(2, &random)
        case .tinyint: return bytes(1, &random)
        case .boolean: return [UInt8(random.next() & 1)]
        case .timeuuid:
            var value = bytes(16, &random)
            value[6] = value[6] & 0x0f | 0x10
            return value
        case .uuid: return bytes(16, &random)
        case .varint:
            var value = bytes(Int.random(in: 1...(random.next() % 8 == 0 ? 300 : 9), using: &random), &random)
            while value.count > 1 && ((value[0] == 0 && value[1] < 0x80) || (value[0] == 0xff && value[1] >= 0x80)) {
                value.removeFirst()
            }
            return value
        case .frozen(let inner): return self.random(inner, &random)
        case .list(let element):
            let count = Int.random(in: 0...3, using: &random)
            var out: [UInt8] = [0, 0, 0, UInt8(count)]
            for _ in 0..<count {
                let value = self.random(element, &random)
                out += [0, 0, 0, UInt8(value.count)] + value
            }
            return out
        default:
            let length = Int.random(in: 0...6, using: &random)
            return (0..<length).map { _ in random.next() % 3 == 0 ? 0 : UInt8(truncatingIfNeeded: random.next()) }
        }
    }

    static let types: [CQLType] = [
        .int, .bigint, .smallint, .tinyint, .boolean, .date, .timestamp, .time, .double, .float, .uuid, .timeuuid,
        .text, .blob, .varint,
        .inet,
        .frozen(.list(.text)),
    ]

    @Test(arguments: types) func clusteringValuesRoundTrip(type: CQLType) throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<500 {
            let value = Self.random(type, &random)
            for descending in [false, true] {
                let encoded = try Self.encode(value, type, descending: descending)
                let decoded = try Self.decode(encoded, type, descending: descending)
                // Of a NaN only the fact that it is one survives.
                if type == .float || type == .double {
                    #expect(type.compare(decoded, value) == 0, "\(type)")
                } else {
                    #expect(decoded == value, "\(type)")
                }
            }
        }
    }

    private static let zeros = String(repeating: "00", count: 112)
    /// Native bytes and their key, in hexadecimal, for every type with an order. Part of the file format; do not
    /// change.
    static let golden: [(type: CQLType, native: String, key: String)] = [
        (.int, "00000001", "4080000001"), (.int, "ffffffff", "407fffffff"), (.int, "", "3f"),
        (.bigint, "8000000000000000", "400000000000000000"), (.timestamp, "0000018bcfe56800", "408000018bcfe56800"),
        (.time, "00004e94914f0000", "4080004e94914f0000"), (.smallint, "ff00", "407f00"), (.tinyint, "7f", "40ff"),
        (.boolean, "00", "4000"), (.boolean, "01", "4001"), (.date, "80004cfc", "4080004cfc"),
        (.float, "3fc00000", "40bfc00000"), (.float, "bfc00000", "40403fffff"), (.float, "7fc00001", "40ffc00000"),
        (.double, "3ff8000000000000", "40bff8000000000000"), (.double, "8000000000000000", "407fffffffffffffff"),
        (.text, "61620063", "40616200ff630000"), (.ascii, "61", "40610000"), (.blob, "00ff", "4000ffff0000"),
        (.inet, "7f000001", "407f00ff00ff010000"),
        (.uuid, "00112233445546778899aabbccddeeff", "4040011223344556778899aabbccddeeff"),
        (.uuid, "5132b130ae7911e4ab270800200c9a66", "4011e4ae795132b130ab270800200c9a66"),
        (.timeuuid, "5132b130ae7911e4ab270800200c9a66", "4011e4ae795132b1302ba78880a08c1ae6"),
        (.varint, "00", "408000"), (.varint, "7f", "40807f"), (.varint, "0080", "40810080"), (.varint, "ff", "407fff"),
        (.varint, "ff7f", "407eff7f"),
        (.varint, "01" + zeros, "40ff00000071" + "01" + zeros), (.varint, "80" + zeros, "4000ffffff8e" + "80" + zeros),
        (.decimal, "0000000000", "4001"), (.decimal, "0000000204d2", "4002800000020203040500"),
        (.decimal, "00000002fb2e", "40007ffffffdfdfcfbfaff"),
        (.frozen(.list(.int)), "0000000200000004000000010000000400000002", "404080000001408000000200"),
        (.frozen(.set(.text)), "000000010000000161", "404061000000"),
        (.frozen(.map(.tinyint, .text)), "0000000100000001010000000178", "4040814078000000"),
        (.tuple([.int, .text, .boolean]), "0000000400000001ffffffff0000000101", "4040800000013e400100"),
    ]

    @Test func goldenBytes() throws {
        for (type, native, key) in Self.golden {
            let (native, key) = (bytes(native), bytes(key))
            #expect(try Self.encode(native, type) == key, "\(type) \(native)")
            #expect(try Self.encode(native, type, descending: true) == key.map { ~$0 }, "\(type) \(native)")
            // Of a NaN only the fact that it is one survives.
            let decoded = try Self.decode(key, type)
            #expect(decoded == native || type.compare(decoded, native) == 0, "\(type) \(native)")
            #expect(try Self.decode(key.map { ~$0 }, type, descending: true) == decoded, "\(type) \(native)")
        }
    }

    /// A key cut anywhere is refused. A key with a flipped bit is refused or is the key of another value.
    @Test func truncationAndFlippedBits() throws {
        for (type, _, key) in Self.golden {
            let key = bytes(key)
            for length in 0..<key.count {
                #expect(throws: KeyError.self, "\(type) cut to \(length)") {
                    try Self.decode(Array(key[..<length]), type)
                }
            }
            for bit in 0..<key.count * 8 {
                var flipped = key
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                // Bytes may remain, so that the end is not checked here.
                var out = ByteWriter()
                var offset = 0
                let outcome = flipped.withUnsafeBytes { raw in
                    Result {
                        try KeyEncoding.nextClusteringComponent(
                            raw, at: &offset, type: type, descending: false, into: &out)
                    }
                }
                guard case .success = outcome else { continue }
                let again = try Self.encode(out.toArray(), type)
                #expect(again == Array(flipped[..<offset]), "\(type) bit \(bit) of \(key)")
            }
        }
    }

    private static func partition(_ values: [[UInt8]]) throws -> [UInt8] {
        var key = ByteWriter()
        KeyEncoding.beginPartition(into: &key)
        for value in values {
            value.withUnsafeBytes { KeyEncoding.addPartitionComponent($0, isOnly: values.count == 1, into: &key) }
        }
        try KeyEncoding.endPartition(of: &key)
        return key.toArray()
    }

    /// Partition keys of one column and of several, and the kinds of rows.
    @Test func goldenPartitions() throws {
        #expect(try Self.partition([[0, 0, 0, 1]]) == bytes("478499982ae4e0cf000400000001"))
        #expect(try Self.partition([[0x61], []]) == bytes("1ec6b7a2c269934e000700016100000000"))
        #expect(KeyView.staticKind == 0x10 && KeyView.rowKind == 0x20)
    }

    /// memcmp orders encoded values as the type does, and no encoded value is a prefix of another.
    @Test(arguments: types) func memcmpOrdersKeysLikeTheirType(type: CQLType) throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<2000 {
            let a = Self.random(type, &random)
            let b = Self.random(type, &random)
            let order = type.compare(a, b)
            let encoded = compareBytes(try Self.encode(a, type), try Self.encode(b, type))
            #expect(order.signum() == encoded.signum(), "\(type): \(a) \(b)")
            let inverted = compareBytes(
                try Self.encode(a, type, descending: true), try Self.encode(b, type, descending: true))
            #expect(order.signum() == -inverted.signum(), "\(type) descending: \(a) \(b)")
        }
    }

    /// A NaN may have any sign and payload; as keys all are one value, greater than all others.
    @Test func allNaNsHaveTheSameKey() throws {
        for (type, all) in [
            (
                CQLType.float,
                [[0x7f, 0xc0, 0, 0], [0xff, 0xc0, 0, 0], [0x7f, 0x80, 0, 1], [0xff, 0xff, 0xff, 0xff]]
            ),
            (.double, [[0x7f, 0xf8, 0, 0, 0, 0, 0, 0], [0xff, 0xf0, 0, 0, 0, 0, 0, 1]]),
        ] as [(CQLType, [[UInt8]])] {
            let encoded = try all.map { try Self.encode($0, type) }
            #expect(Set(encoded).count == 1)
            let infinity: [UInt8] = type == .float ? [0x7f, 0x80, 0, 0] : [0x7f, 0xf0, 0, 0, 0, 0, 0, 0]
            #expect(compareBytes(encoded[0], try Self.encode(infinity, type)) > 0)
        }
    }

    @Test func decimalsOrderByValue() throws {
        // Scale and unscaled value, in ascending order.
        let rising: [(Int32, Int64)] = [
            (0, -1000), (1, -1000), (2, -101), (0, -1), (3, -1), (0, 0), (5, 1), (1, 1), (1, 9), (0, 1), (2, 150),
            (0, 2), (0, 10), (-3, 5),
        ]
        func native(_ scale: Int32, _ unscaled: Int64) -> [UInt8] {
            var value = withUnsafeBytes(of: unscaled.bigEndian) { [UInt8]($0) }
            while value.count > 1 && ((value[0] == 0 && value[1] < 0x80) || (value[0] == 0xff && value[1] >= 0x80)) {
                value.removeFirst()
            }
            return withUnsafeBytes(of: scale.bigEndian) { [UInt8]($0) } + value
        }
        for (low, high) in zip(rising, rising.dropFirst()) {
            let a = try Self.encode(native(low.0, low.1), .decimal)
            let b = try Self.encode(native(high.0, high.1), .decimal)
            #expect(compareBytes(a, b) < 0, "\(low) \(high)")
        }
        #expect(try Self.encode(native(1, 10), .decimal) == Self.encode(native(2, 100), .decimal))
        #expect(try Self.decode(Self.encode(native(2, -12345), .decimal), .decimal) == native(2, -12345))
    }
}
