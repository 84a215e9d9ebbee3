import Glibc

/// Parses numbers from bytes.
enum NumberText {
    /// Parses a decimal integer with an optional sign; nil for anything else, and when it does not fit.
    @inline(__always) static func integer(_ text: UnsafeRawBufferPointer) -> Int64? {
        var offset = 0
        let count = text.count
        guard count > 0 else { return nil }
        let isNegative = text[0] == UInt8(ascii: "-")
        if isNegative || text[0] == UInt8(ascii: "+") { offset = 1 }
        guard offset < count, count - offset <= 19 else { return nil }
        var value: UInt64 = 0
        while offset < count {
            let digit = text[offset] &- 0x30
            guard digit < 10 else { return nil }
            value = value &* 10 &+ UInt64(digit)
            offset += 1
        }
        if isNegative { return value <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- value) : nil }
        return value < 1 << 63 ? Int64(value) : nil
    }

    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]

    /// Parses a decimal number; nil for anything else.
    ///
    /// With up to 15 digits and a power of ten up to 22, one division gives the exact result (Clinger, "How to Read
    /// Floating Point Numbers Accurately"). Other numbers go through the standard library.
    @inline(__always) static func double(_ text: UnsafeRawBufferPointer) -> Double? {
        var offset = 0
        let count = text.count
        guard count > 0 else { return nil }
        let isNegative = text[0] == UInt8(ascii: "-")
        if isNegative || text[0] == UInt8(ascii: "+") { offset = 1 }
        var mantissa: UInt64 = 0
        var digits = 0
        var decimals = 0
        var hasPoint = false
        while offset < count {
            let byte = text[offset]
            let digit = byte &- 0x30
            if digit < 10 {
                digits += 1
                if digits > 15 { return slowDouble(text) }
                mantissa = mantissa &* 10 &+ UInt64(digit)
                if hasPoint { decimals += 1 }
            } else if byte == UInt8(ascii: ".") && !hasPoint {
                hasPoint = true
            } else {
                return slowDouble(text)
            }
            offset += 1
        }
        guard digits > 0 else { return nil }
        let value = decimals == 0 ? Double(mantissa) : Double(mantissa) / powers[decimals]
        return isNegative ? -value : value
    }

    @inline(never) private static func slowDouble(_ text: UnsafeRawBufferPointer) -> Double? {
        let string = String(decoding: text, as: UTF8.self)
        if text.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2B || $0 == 0x2D || $0 == 0x2E || $0 | 0x20 == 0x65 }
        ) {
            return Double(string)
        }
        switch string.lowercased() {
        case "nan": return .nan
        case "infinity", "inf": return .infinity
        case "-infinity", "-inf": return -.infinity
        default: return nil
        }
    }

    /// Parses `true` or `false` in any case.
    static func boolean(_ text: UnsafeRawBufferPointer) -> Bool? {
        func isWord(_ word: StaticString) -> Bool {
            guard text.count == word.utf8CodeUnitCount else { return false }
            return word.withUTF8Buffer { letters in text.indices.allSatisfy { text[$0] | 0x20 == letters[$0] } }
        }
        return isWord("true") ? true : isWord("false") ? false : nil
    }
}
