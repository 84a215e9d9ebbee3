/// A 128-bit UUID (RFC 9562), as two big-endian halves.
public struct UUID: Hashable, Sendable, CustomStringConvertible, Comparable {
    public let high: UInt64
    public let low: UInt64

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Decodes 16 bytes, most significant first; nil for any other number of bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        var halves: (UInt64, UInt64) = (0, 0)
        for index in 0..<8 {
            halves.0 = halves.0 << 8 | UInt64(bytes[index])
            halves.1 = halves.1 << 8 | UInt64(bytes[index + 8])
        }
        self.init(high: halves.0, low: halves.1)
    }

    /// Parses the 8-4-4-4-12 form in either case; nil for anything else.
    public init?(_ text: some StringProtocol) {
        var halves: (UInt64, UInt64) = (0, 0)
        var digits = 0
        var position = 0
        for byte in text.utf8 {
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x37
            case 0x61...0x66: digit = byte - 0x57
            case 0x2d:
                guard position == 8 || position == 13 || position == 18 || position == 23 else { return nil }
                position += 1
                continue
            default: return nil
            }
            if position == 8 || position == 13 || position == 18 || position == 23 { return nil }
            if digits < 16 {
                halves.0 = halves.0 << 4 | UInt64(digit)
            } else {
                halves.1 = halves.1 << 4 | UInt64(digit)
            }
            digits += 1
            position += 1
            if digits > 32 { return nil }
        }
        guard digits == 32, position == 36 else { return nil }
        self.init(high: halves.0, low: halves.1)
    }

    /// Returns a random (version 4) UUID.
    public static func random(using generator: inout some RandomNumberGenerator) -> UUID {
        UUID(
            high: generator.next() & ~0xf000 | 0x4000,
            low: generator.next() & ~(3 << 62) | (2 << 62))
    }

    /// Returns a time-based (version 1) UUID for a time in 100 ns ticks since 1582-10-15.
    public static func timeBased(ticks: UInt64, clockSequenceAndNode: UInt64) -> UUID {
        let high = (ticks & 0xffff_ffff) << 32 | (ticks >> 32 & 0xffff) << 16 | 0x1000 | (ticks >> 48 & 0x0fff)
        return UUID(high: high, low: clockSequenceAndNode & ~(3 << 62) | (2 << 62))
    }

    public var version: Int { Int(high >> 12 & 0xf) }

    /// The time of a version 1 UUID, in 100 ns ticks since 1582-10-15.
    public var ticks: UInt64 { (high & 0x0fff) << 48 | (high >> 16 & 0xffff) << 32 | high >> 32 }

    /// The number of 100 ns ticks between 1582-10-15 and 1970-01-01.
    public static let unixEpochTicks: UInt64 = 0x01b2_1dd2_1381_4000

    public var bytes: [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: high >> UInt64(56 - $0 * 8)) }
            + (0..<8).map { UInt8(truncatingIfNeeded: low >> UInt64(56 - $0 * 8)) }
    }

    public var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append(0x2d) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    public static func < (a: UUID, b: UUID) -> Bool { (a.high, a.low) < (b.high, b.low) }
}
