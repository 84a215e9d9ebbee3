import Primitives
import Testing

@testable import DataModel

/// Any bytes under any type can be validated, compared and shown without a trap; valid values stay valid in canonical
/// form and through JSON.
@Suite struct ValueFuzzTests {
    private static let simple: [CQLType] = [
        .ascii, .bigint, .blob, .boolean, .counter, .date, .decimal, .double, .duration, .float, .inet, .int, .smallint,
        .text, .time,
        .timestamp,
        .timeuuid, .tinyint, .uuid, .varint,
    ]

    private func type(_ random: inout SeededRandom, depth: Int = 0) -> CQLType {
        let leaf = Self.simple[Int(random.next() % UInt64(Self.simple.count))]
        if depth > 2 { return leaf }
        switch random.next() % 8 {
        case 0: return .list(type(&random, depth: depth + 1).asFrozen)
        case 1: return .set(type(&random, depth: depth + 1).asFrozen)
        case 2: return .map(type(&random, depth: depth + 1).asFrozen, type(&random, depth: depth + 1).asFrozen)
        case 3: return .tuple((0...Int(random.next() % 3)).map { _ in type(&random, depth: depth + 1).asFrozen })
        default: return leaf
        }
    }

    /// Returns bytes that are often a value of the type, and often nearly one.
    private func bytes(_ type: CQLType, _ random: inout SeededRandom) -> [UInt8] {
        func noise(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next() >> 32) } }
        func element(_ type: CQLType) -> [UInt8] {
            let value = bytes(type, &random)
            return CQLType.bigEndian(Int32(value.count)) + value
        }
        if random.next() % 40 == 0 { return noise(Int(random.next() % 20)) }
        switch type {
        case .frozen(let inner): return bytes(inner, &random)
        case .list(let inner), .set(let inner):
            let count = Int(random.next() % 4)
            return CQLType.bigEndian(Int32(count)) + (0..<count).flatMap { _ in element(inner) }
        case .map(let key, let value):
            let count = Int(random.next() % 4)
            return CQLType.bigEndian(Int32(count)) + (0..<count).flatMap { _ in element(key) + element(value) }
        case .tuple(let fields):
            return fields.flatMap { random.next() % 5 == 0 ? [0xff, 0xff, 0xff, 0xff] : element($0) }
        case .text, .ascii: return (0..<Int(random.next() % 8)).map { _ in UInt8(random.next() % 128) }
        case .boolean: return [UInt8(random.next() % 2)]
        case .duration:
            let sign: Int64 = random.next() % 2 == 0 ? 1 : -1
            return DurationValue(
                months: Int32(sign * Int64(random.next() % 1000)), days: Int32(sign * Int64(random.next() % 1000)),
                nanoseconds: sign * Int64(random.next() >> (1 + random.next() % 60))
            ).native
        case .decimal: return CQLType.bigEndian(Int32(random.next() % 60) - 30) + noise(Int(random.next() % 12))
        case .inet: return noise(random.next() % 2 == 0 ? 4 : 16)
        case .time: return CQLType.bigEndian(Int64(random.next() % 86_400_000_000_000))
        case .timeuuid:
            var value = noise(16)
            value[6] = value[6] & 0x0f | 0x10
            return value
        default: return noise(type.fixedWidth ?? Int(random.next() % 12))
        }
    }

    private func isValid(_ bytes: [UInt8], _ type: CQLType) -> Bool {
        do throws(ValueError) {
            try type.validate(bytes)
            return true
        } catch { return false }
    }

    private func json(_ bytes: [UInt8], _ type: CQLType) -> [UInt8] {
        var writer = ByteWriter()
        bytes.withUnsafeBytes { type.appendJSON($0, to: &writer) }
        return writer.toArray()
    }

    @Test func arbitraryBytesAreHandledUnderEveryType() throws {
        var random = SeededRandom(seed: 77)
        var valid = 0
        for _ in 0..<3000 {
            let type = type(&random)
            let (a, b) = (bytes(type, &random), bytes(type, &random))
            let forward = type.compare(a, b).signum()
            if isValid(a, type), isValid(b, type) {
                #expect(forward == -type.compare(b, a).signum(), "\(type) \(a) \(b)")
            }
            for style in [ValueStyle.shell(floatDigits: 5), .csv, .literal] { _ = type.text(a, style: style) }
            let text = json(a, type)
            guard isValid(a, type) else { continue }
            valid += 1
            _ = try JSONValue(parsing: text)
            if let canonical = try a.withUnsafeBytes({ try CollectionBuilder.canonical($0, type) }) {
                #expect(isValid(canonical, type))
                #expect(
                    try canonical.withUnsafeBytes { try CollectionBuilder.canonical($0, type) } == nil, "\(type) \(a)")
            }
            var truncated = a
            while truncated.popLast() != nil {
                _ = isValid(truncated, type)
                _ = type.compare(truncated, a)
                _ = json(truncated, type)
            }
        }
        #expect(valid > 1500)
    }

    /// A valid scalar is parsed back from its text.
    @Test func scalarsRoundTripAsText() throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<20_000 {
            let type = Self.simple[Int(random.next() % UInt64(Self.simple.count))]
            let value = bytes(type, &random)
            guard isValid(value, type), !value.isEmpty || type == .text || type == .blob else { continue }
            // Outside the range of dates that text can express.
            if type == .timestamp, let raw: Int64 = value.withUnsafeBytes({ CQLType.integer($0) }),
                abs(raw / 2) > 1_000_000_000_000_000
            {
                continue
            }
            // A time beyond one day is shown as a number.
            if type == .time, let raw: Int64 = value.withUnsafeBytes({ CQLType.integer($0) }),
                raw < 0 || raw >= 86_400_000_000_000
            {
                continue
            }
            let text = value.withUnsafeBytes { type.scalarText($0) }
            let back = try type.bytes(fromScalarText: text)
            #expect(type.compare(back, value) == 0 || back == value, "\(type) \(text)")
        }
    }
}
