import DataModel
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
            Result { try KeyEncoding.nextClusteringComponent(raw, at: &offset, type: type, descending: descending, into: &out) }
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
            while value.count > 1 && ((value[0] == 0 && value[1] < 0x80) || (value[0] == 0xff && value[1] >= 0x80)) { value.removeFirst() }
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
        .int, .bigint, .smallint, .tinyint, .boolean, .date, .timestamp, .time, .double, .float, .uuid, .timeuuid, .text, .blob, .varint,
        .inet,
        .frozen(.list(.text)),
    ]

    @Test(arguments: types) func valuesComeBack(type: CQLType) throws {
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

    /// memcmp orders encoded values as the type does, and no encoded value is a prefix of another.
    @Test(arguments: types) func memcmpIsTheOrderOfTheType(type: CQLType) throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<2000 {
            let a = Self.random(type, &random)
            let b = Self.random(type, &random)
            let order = type.compare(a, b)
            let encoded = compareBytes(try Self.encode(a, type), try Self.encode(b, type))
            #expect(order.signum() == encoded.signum(), "\(type): \(a) \(b)")
            let inverted = compareBytes(try Self.encode(a, type, descending: true), try Self.encode(b, type, descending: true))
            #expect(order.signum() == -inverted.signum(), "\(type) descending: \(a) \(b)")
        }
    }

    /// A NaN may have any sign and payload; as keys all are one value, greater than all others.
    @Test func notANumberIsOneKey() throws {
        for (type, all) in [
            (CQLType.float, [[0x7f, 0xc0, 0, 0], [0xff, 0xc0, 0, 0], [0x7f, 0x80, 0, 1], [0xff, 0xff, 0xff, 0xff]]),
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
            (0, -1000), (1, -1000), (2, -101), (0, -1), (3, -1), (0, 0), (5, 1), (1, 1), (1, 9), (0, 1), (2, 150), (0, 2), (0, 10), (-3, 5),
        ]
        func native(_ scale: Int32, _ unscaled: Int64) -> [UInt8] {
            var value = withUnsafeBytes(of: unscaled.bigEndian) { [UInt8]($0) }
            while value.count > 1 && ((value[0] == 0 && value[1] < 0x80) || (value[0] == 0xff && value[1] >= 0x80)) { value.removeFirst() }
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
