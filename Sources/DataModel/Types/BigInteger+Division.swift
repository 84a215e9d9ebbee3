extension BigInteger {
    /// Returns the quotient rounded toward zero, and the remainder with the dividend's sign (Knuth, TAOCP 4.3.1,
    /// algorithm D).
    /// - Returns: nil when `divisor` is zero.
    public func dividedBy(_ divisor: BigInteger) -> (quotient: BigInteger, remainder: BigInteger)? {
        if divisor.isZero { return nil }
        if Self.compareMagnitudes(limbs, divisor.limbs) < 0 { return (.zero, self) }
        let quotient: [UInt32]
        let remainder: [UInt32]
        if divisor.limbs.count == 1 {
            let (limbs, rest) = Self.divide(limbs, by: divisor.limbs[0])
            (quotient, remainder) = (limbs, [rest])
        } else {
            (quotient, remainder) = Self.divide(limbs, by: divisor.limbs)
        }
        return (
            BigInteger(isNegative: isNegative != divisor.isNegative, limbs: quotient),
            BigInteger(isNegative: isNegative, limbs: remainder)
        )
    }

    static func divide(_ dividend: [UInt32], by divisor: UInt32) -> ([UInt32], UInt32) {
        var quotient = dividend
        var rest: UInt64 = 0
        for index in dividend.indices.reversed() {
            let value = rest << 32 | UInt64(dividend[index])
            quotient[index] = UInt32(value / UInt64(divisor))
            rest = value % UInt64(divisor)
        }
        return (quotient, UInt32(rest))
    }

    private static func shifted(_ limbs: [UInt32], by bits: Int) -> [UInt32] {
        guard bits > 0 else { return limbs + [0] }
        var result: [UInt32] = []
        var carry: UInt32 = 0
        for limb in limbs {
            result.append(limb << UInt32(bits) | carry)
            carry = limb >> UInt32(32 - bits)
        }
        return result + [carry]
    }

    /// Divides magnitudes. The divisor must have at least two limbs and must not exceed the dividend.
    private static func divide(_ dividend: [UInt32], by divisor: [UInt32]) -> ([UInt32], [UInt32]) {
        let shift = divisor[divisor.count - 1].leadingZeroBitCount
        var u = shifted(dividend, by: shift)
        let v = Array(shifted(divisor, by: shift).dropLast())
        let n = v.count
        let m = u.count - n - 1
        var quotient = [UInt32](repeating: 0, count: m + 1)
        for j in stride(from: m, through: 0, by: -1) {
            let top = UInt64(u[j + n]) << 32 | UInt64(u[j + n - 1])
            var estimate = top / UInt64(v[n - 1])
            var rest = top % UInt64(v[n - 1])
            while estimate >> 32 != 0 || estimate * UInt64(v[n - 2]) > rest << 32 | UInt64(u[j + n - 2]) {
                estimate -= 1
                rest += UInt64(v[n - 1])
                if rest >> 32 != 0 { break }
            }
            var borrow: Int64 = 0
            var carry: UInt64 = 0
            for i in 0..<n {
                let product = estimate * UInt64(v[i]) + carry
                carry = product >> 32
                let value = Int64(u[i + j]) - borrow - Int64(product & 0xffff_ffff)
                u[i + j] = UInt32(truncatingIfNeeded: value)
                borrow = value < 0 ? 1 : 0
            }
            let value = Int64(u[j + n]) - borrow - Int64(carry)
            u[j + n] = UInt32(truncatingIfNeeded: value)
            if value < 0 {
                // The estimate was one too large: add the divisor back.
                estimate -= 1
                var carry: UInt64 = 0
                for i in 0..<n {
                    let sum = UInt64(u[i + j]) + UInt64(v[i]) + carry
                    u[i + j] = UInt32(truncatingIfNeeded: sum)
                    carry = sum >> 32
                }
                u[j + n] = UInt32(truncatingIfNeeded: UInt64(u[j + n]) + carry)
            }
            quotient[j] = UInt32(truncatingIfNeeded: estimate)
        }
        var remainder = Array(u[0..<n])
        if shift > 0 {
            for index in 0..<n {
                let above = index + 1 < n ? remainder[index + 1] : 0
                remainder[index] = remainder[index] >> UInt32(shift) | above << UInt32(32 - shift)
            }
        }
        return (quotient, remainder)
    }

    /// Returns 10 to the power of `exponent`.
    static func powerOfTen(_ exponent: Int) -> BigInteger {
        var result = BigInteger(1)
        var base = BigInteger(10)
        var rest = exponent
        while rest > 0 {
            if rest & 1 == 1 { result = result * base }
            rest >>= 1
            if rest > 0 { base = base * base }
        }
        return result
    }
}

extension BigInteger: CustomStringConvertible {
    /// The maximum number of digits to parse.
    static let maximumDigits = CQLType.maximumVarintBytes * 2

    /// Parses decimal digits with an optional sign; nil for anything else and for more than `maximumDigits`.
    public init?(_ text: some StringProtocol) {
        var bytes = ArraySlice(Array(text.utf8))
        let negative = bytes.first == 0x2d
        if negative || bytes.first == 0x2b { bytes = bytes.dropFirst() }
        guard !bytes.isEmpty, bytes.count <= Self.maximumDigits else { return nil }
        var limbs: [UInt32] = []
        var chunk: UInt32 = 0
        var scale: UInt32 = 1
        func fold() {
            var carry = UInt64(chunk)
            for index in limbs.indices {
                let value = UInt64(limbs[index]) * UInt64(scale) + carry
                limbs[index] = UInt32(truncatingIfNeeded: value)
                carry = value >> 32
            }
            if carry > 0 { limbs.append(UInt32(carry)) }
            (chunk, scale) = (0, 1)
        }
        for byte in bytes {
            guard (0x30...0x39).contains(byte) else { return nil }
            chunk = chunk * 10 + UInt32(byte - 0x30)
            scale *= 10
            if scale == 1_000_000_000 { fold() }
        }
        fold()
        self.init(isNegative: negative, limbs: limbs)
    }

    public var description: String {
        if limbs.isEmpty { return "0" }
        var chunks: [UInt32] = []
        var rest = limbs
        while !rest.isEmpty {
            let (quotient, remainder) = Self.divide(rest, by: 1_000_000_000)
            chunks.append(remainder)
            rest = quotient
            while rest.last == 0 { rest.removeLast() }
        }
        var text = isNegative ? "-" : ""
        text += String(chunks.removeLast())
        for chunk in chunks.reversed() {
            let digits = String(chunk)
            text += String(repeating: "0", count: 9 - digits.count) + digits
        }
        return text
    }

    /// The value as a floating-point number, rounded.
    public var double: Double { Double(description) ?? .nan }

    /// Creates the integer part of a finite number; nil for NaN and infinities.
    public init?(truncating value: Double) {
        guard value.isFinite else { return nil }
        let whole = value.magnitude.rounded(.down)
        guard whole >= 1 else {
            self = .zero
            return
        }
        let exponent = Int(whole.exponent)
        let significand = UInt64(whole.significandBitPattern) | 1 << 52
        let shift = exponent - 52
        let base = BigInteger(Int64(shift < 0 ? significand >> UInt64(-shift) : significand))
        var limbs = [UInt32](repeating: 0, count: max(shift, 0) / 32) + Self.shifted(base.limbs, by: max(shift, 0) % 32)
        if limbs.isEmpty { limbs = [0] }
        self.init(isNegative: value < 0, limbs: limbs)
    }
}
