/// A decimal number: `unscaled` times 10^(-`scale`).
public struct BigDecimal: Sendable, Equatable, CustomStringConvertible {
    public var unscaled: BigInteger
    public var scale: Int32

    public init(unscaled: BigInteger, scale: Int32) {
        self.unscaled = unscaled
        self.scale = scale
    }

    public static let zero = BigDecimal(unscaled: .zero, scale: 0)

    /// Creates a decimal from its native bytes: scale (4 bytes) and unscaled varint. Fewer than 4 bytes give zero.
    public init(native bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 4 else {
            self = .zero
            return
        }
        scale = Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))
        unscaled = BigInteger(native: bytes.dropFirst(4))
    }

    public var native: [UInt8] {
        withUnsafeBytes(of: scale.bigEndian) { Array($0) } + unscaled.native
    }

    /// Parses a CQL number: digits, an optional point, an optional exponent. Nil for anything else.
    public init?(_ text: some StringProtocol) {
        var digits = ""
        var fraction = 0
        var seenPoint = false
        var rest = Substring(text)
        if let sign = rest.first, sign == "-" || sign == "+" {
            if sign == "-" { digits = "-" }
            rest = rest.dropFirst()
        }
        var any = false
        while let character = rest.utf8.first {
            if (0x30...0x39).contains(character) {
                digits.unicodeScalars.append(Unicode.Scalar(character))
                if seenPoint { fraction += 1 }
                any = true
            } else if character == 0x2e, !seenPoint {
                seenPoint = true
            } else {
                break
            }
            rest = rest.dropFirst()
        }
        guard any else { return nil }
        var exponent = 0
        if let mark = rest.first {
            guard mark == "e" || mark == "E" else { return nil }
            let power = rest.dropFirst()
            guard !power.isEmpty, let value = Int32(power) else { return nil }
            exponent = Int(value)
        }
        guard let unscaled = BigInteger(digits), let scale = Int32(exactly: fraction - exponent) else { return nil }
        self.init(unscaled: unscaled, scale: scale)
    }

    /// Java's text form: plain while the exponent is small, else scientific.
    public var description: String {
        let text = unscaled.magnitude.description
        let sign = unscaled.isNegative ? "-" : ""
        if scale == 0 { return sign + text }
        let exponent = text.utf8.count - 1 - Int(scale)
        if scale > 0 && exponent >= -6 {
            let point = text.utf8.count - Int(scale)
            if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + text }
            return sign + text.prefix(point) + "." + text.dropFirst(point)
        }
        let mantissa = text.utf8.count > 1 ? text.prefix(1) + "." + text.dropFirst(1) : text[...]
        if exponent == 0 { return sign + mantissa }
        return sign + mantissa + "E" + (exponent > 0 ? "+" : "") + String(exponent)
    }

    /// The number of decimal digits of the unscaled value.
    public var precision: Int { unscaled.isZero ? 1 : unscaled.magnitude.description.utf8.count }

    /// The maximum difference of two scales in a sum: without a limit a short text could require gigabytes.
    static let maximumAlignment = 40_000

    private static func aligned(_ a: BigDecimal, _ b: BigDecimal) -> (BigInteger, BigInteger, Int32)? {
        let distance = Int(a.scale) - Int(b.scale)
        guard abs(distance) <= maximumAlignment else { return nil }
        if distance == 0 { return (a.unscaled, b.unscaled, a.scale) }
        if distance < 0 { return (a.unscaled * .powerOfTen(-distance), b.unscaled, b.scale) }
        return (a.unscaled, b.unscaled * .powerOfTen(distance), a.scale)
    }

    /// Returns the sum; nil when the scales differ by more than `maximumAlignment`.
    public func adding(_ other: BigDecimal) -> BigDecimal? {
        guard let (a, b, scale) = Self.aligned(self, other) else { return nil }
        return BigDecimal(unscaled: a + b, scale: scale)
    }

    public func subtracting(_ other: BigDecimal) -> BigDecimal? {
        adding(BigDecimal(unscaled: -other.unscaled, scale: other.scale))
    }

    public func multiplied(by other: BigDecimal) -> BigDecimal? {
        let (scale, overflow) = scale.addingReportingOverflow(other.scale)
        return overflow ? nil : BigDecimal(unscaled: unscaled * other.unscaled, scale: scale)
    }

    /// Returns the quotient with at least 32 significant digits, rounded half up, without trailing zeros; nil for a
    /// zero divisor.
    public func divided(by other: BigDecimal) -> BigDecimal? {
        let power = (precision - Int(scale)) - (other.precision - Int(other.scale))
        let wanted = max(Int(scale), Int(other.scale), 32 - power)
        return divided(by: other, scale: min(wanted, 1000), halfEven: false)?.withoutTrailingZeros
    }

    /// Returns the quotient rounded to `scale` digits after the point.
    public func divided(by other: BigDecimal, scale wanted: Int, halfEven: Bool) -> BigDecimal? {
        let shift = wanted + Int(other.scale) - Int(scale)
        guard abs(shift) <= Self.maximumAlignment, let wantedScale = Int32(exactly: wanted) else { return nil }
        let dividend = shift > 0 ? unscaled * .powerOfTen(shift) : unscaled
        let divisor = shift < 0 ? other.unscaled * .powerOfTen(-shift) : other.unscaled
        guard var (quotient, remainder) = dividend.dividedBy(divisor) else { return nil }
        let twice = BigInteger.compareMagnitudes((remainder + remainder).limbs, divisor.limbs)
        let isOdd = (quotient.limbs.first ?? 0) & 1 == 1
        if twice > 0 || twice == 0 && (!halfEven || isOdd) {
            let isNegative = dividend.isNegative != divisor.isNegative
            quotient = quotient + BigInteger(isNegative ? -1 : 1)
            remainder = .zero
        }
        return BigDecimal(unscaled: quotient, scale: wantedScale)
    }

    /// Returns the remainder of the division rounded toward zero.
    public func remainder(dividingBy other: BigDecimal) -> BigDecimal? {
        guard let (a, b, scale) = Self.aligned(self, other), let (_, rest) = a.dividedBy(b) else { return nil }
        return BigDecimal(unscaled: rest, scale: scale)
    }

    public var withoutTrailingZeros: BigDecimal {
        if unscaled.isZero { return .zero }
        var value = self
        while value.scale > Int32.min, let (quotient, rest) = value.unscaled.dividedBy(BigInteger(10)), rest.isZero {
            value = BigDecimal(unscaled: quotient, scale: value.scale - 1)
        }
        return value
    }

    /// The integer part; nil when it has more digits than a varint may.
    public var integerPart: BigInteger? {
        if scale == 0 { return unscaled }
        if scale < 0 {
            guard scale >= -Int32(Self.maximumAlignment) else { return nil }
            return unscaled * .powerOfTen(Int(-scale))
        }
        if Int(scale) > precision { return .zero }
        return unscaled.dividedBy(.powerOfTen(Int(scale)))?.quotient
    }

    public func compare(_ other: BigDecimal) -> Int {
        if unscaled.isZero || other.unscaled.isZero || unscaled.isNegative != other.unscaled.isNegative {
            let a = unscaled.isZero ? 0 : unscaled.isNegative ? -1 : 1
            let b = other.unscaled.isZero ? 0 : other.unscaled.isNegative ? -1 : 1
            return a - b
        }
        // The place of the first digit decides unless equal; then the scales are close enough to align.
        let (placeA, placeB) = (precision - Int(scale), other.precision - Int(other.scale))
        if placeA != placeB { return (placeA < placeB ? -1 : 1) * (unscaled.isNegative ? -1 : 1) }
        guard let (a, b, _) = Self.aligned(self, other) else { return 0 }
        return a.compare(b)
    }
}
