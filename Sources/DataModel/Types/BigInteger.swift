/// An integer of arbitrary size: sign and magnitude in 32-bit limbs, least significant first.
///
/// **Invariants**: no leading zero limb; zero is not negative. Operations take linear time, except products, quotients
/// and conversion from and to text (quadratic); callers bound the size (`CQLType.maximumVarintBytes`).
public struct BigInteger: Sendable, Hashable, Comparable {
    public private(set) var isNegative: Bool
    private(set) var limbs: [UInt32]

    public static let zero = BigInteger(isNegative: false, limbs: [])

    init(isNegative: Bool, limbs: [UInt32]) {
        var limbs = limbs
        while limbs.last == 0 { limbs.removeLast() }
        self.limbs = limbs
        self.isNegative = isNegative && !limbs.isEmpty
    }

    public init(_ value: Int64) {
        let magnitude = value.magnitude
        self.init(isNegative: value < 0, limbs: [UInt32(truncatingIfNeeded: magnitude), UInt32(magnitude >> 32)])
    }

    public var isZero: Bool { limbs.isEmpty }
    var magnitude: BigInteger { BigInteger(isNegative: false, limbs: limbs) }

    // MARK: Native bytes

    /// Decodes a big-endian two's complement number; no bytes mean zero.
    public init(native bytes: some BidirectionalCollection<UInt8>) {
        guard let first = bytes.first else {
            self = .zero
            return
        }
        let negative = first >= 0x80
        var limbs: [UInt32] = []
        limbs.reserveCapacity(bytes.count / 4 + 1)
        var carry: UInt32 = negative ? 1 : 0
        var limb: UInt32 = 0
        var shift: UInt32 = 0
        for byte in bytes.reversed() {
            let value = UInt32(negative ? ~byte : byte) + carry
            carry = value >> 8
            limb |= (value & 0xff) << shift
            shift += 8
            if shift == 32 {
                limbs.append(limb)
                (limb, shift) = (0, 0)
            }
        }
        if shift > 0 { limbs.append(limb) }
        if carry > 0 {
            // -2^n: the magnitude has one more bit than the bytes.
            if shift > 0 { limbs[limbs.count - 1] |= carry << shift } else { limbs.append(carry) }
        }
        self.init(isNegative: negative, limbs: limbs)
    }

    /// The shortest big-endian two's complement bytes; one byte for zero.
    public var native: [UInt8] {
        if limbs.isEmpty { return [0] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(limbs.count * 4 + 1)
        var carry: UInt32 = isNegative ? 1 : 0
        for limb in limbs {
            for shift in stride(from: UInt32(0), to: 32, by: 8) {
                let byte = UInt8(truncatingIfNeeded: limb >> shift)
                let value = UInt32(isNegative ? ~byte : byte) + carry
                carry = isNegative ? value >> 8 : 0
                bytes.append(UInt8(truncatingIfNeeded: value))
            }
        }
        bytes.append(isNegative ? 0xff : 0)
        let fill: UInt8 = isNegative ? 0xff : 0
        while bytes.count > 1, bytes[bytes.count - 1] == fill, (bytes[bytes.count - 2] >= 0x80) == isNegative {
            bytes.removeLast()
        }
        return bytes.reversed()
    }

    /// The value as Int64, if it fits.
    public var int64: Int64? {
        guard limbs.count <= 2 else { return nil }
        let magnitude = limbs.reversed().reduce(UInt64(0)) { $0 << 32 | UInt64($1) }
        if isNegative { return magnitude <= UInt64(1) << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil }
        return Int64(exactly: magnitude)
    }

    /// The low 64 bits, as in a Java narrowing conversion.
    public var truncatedInt64: Int64 {
        let low = UInt64(limbs.first ?? 0) | UInt64(limbs.count > 1 ? limbs[1] : 0) << 32
        return Int64(bitPattern: isNegative ? 0 &- low : low)
    }

    // MARK: Order and arithmetic

    public static func < (a: BigInteger, b: BigInteger) -> Bool { a.compare(b) < 0 }

    public func compare(_ other: BigInteger) -> Int {
        if isNegative != other.isNegative { return isNegative ? -1 : 1 }
        let order = Self.compareMagnitudes(limbs, other.limbs)
        return isNegative ? -order : order
    }

    static func compareMagnitudes(_ a: [UInt32], _ b: [UInt32]) -> Int {
        if a.count != b.count { return a.count < b.count ? -1 : 1 }
        for index in a.indices.reversed() where a[index] != b[index] { return a[index] < b[index] ? -1 : 1 }
        return 0
    }

    public static prefix func - (a: BigInteger) -> BigInteger { BigInteger(isNegative: !a.isNegative, limbs: a.limbs) }

    public static func + (a: BigInteger, b: BigInteger) -> BigInteger {
        if a.isNegative == b.isNegative {
            return BigInteger(isNegative: a.isNegative, limbs: addMagnitudes(a.limbs, b.limbs))
        }
        let order = compareMagnitudes(a.limbs, b.limbs)
        if order == 0 { return .zero }
        return order > 0
            ? BigInteger(isNegative: a.isNegative, limbs: subtractMagnitudes(a.limbs, b.limbs))
            : BigInteger(isNegative: b.isNegative, limbs: subtractMagnitudes(b.limbs, a.limbs))
    }

    public static func - (a: BigInteger, b: BigInteger) -> BigInteger { a + (-b) }

    public static func * (a: BigInteger, b: BigInteger) -> BigInteger {
        if a.isZero || b.isZero { return .zero }
        var product = [UInt32](repeating: 0, count: a.limbs.count + b.limbs.count)
        for (i, x) in a.limbs.enumerated() {
            var carry: UInt64 = 0
            for (j, y) in b.limbs.enumerated() {
                let value = UInt64(x) * UInt64(y) + UInt64(product[i + j]) + carry
                product[i + j] = UInt32(truncatingIfNeeded: value)
                carry = value >> 32
            }
            product[i + b.limbs.count] = UInt32(carry)
        }
        return BigInteger(isNegative: a.isNegative != b.isNegative, limbs: product)
    }

    private static func addMagnitudes(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
        let (long, short) = a.count >= b.count ? (a, b) : (b, a)
        var sum: [UInt32] = []
        sum.reserveCapacity(long.count + 1)
        var carry: UInt64 = 0
        for index in long.indices {
            let value = UInt64(long[index]) + (index < short.count ? UInt64(short[index]) : 0) + carry
            sum.append(UInt32(truncatingIfNeeded: value))
            carry = value >> 32
        }
        if carry > 0 { sum.append(UInt32(carry)) }
        return sum
    }

    /// Subtracts magnitudes; a must not be less than b.
    private static func subtractMagnitudes(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
        var difference = a
        var borrow: Int64 = 0
        for index in a.indices {
            var value = Int64(a[index]) - (index < b.count ? Int64(b[index]) : 0) - borrow
            borrow = value < 0 ? 1 : 0
            if value < 0 { value += 1 << 32 }
            difference[index] = UInt32(value)
        }
        return difference
    }
}
