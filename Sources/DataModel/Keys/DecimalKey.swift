import Primitives

/// Byte-comparable decimals: values that are numerically equal, such as 1.0 and 1.00, have one key, which decodes as 1.
///
///     payload := 0x01                                    zero
///              | 0x02 exponent digit* 0x00               positive: 0.d1d2d3... times ten to the exponent
///              | 0x00 inverted(exponent digit* 0x00)     negative
///
/// exponent: 4 bytes, big-endian, sign bit flipped. A digit is written as its value plus one; trailing zero digits are
/// dropped.
enum DecimalKey {
    /// - Parameter value: the scale (4 bytes) and the unscaled varint.
    static func encode(_ value: UnsafeRawBufferPointer, into key: inout ByteWriter) throws(KeyError) {
        guard value.count >= 5 else { throw .malformedValue(type: .decimal, byteCount: value.count) }
        let scale = Int(Int32(bigEndian: value.loadUnaligned(as: Int32.self)))
        var magnitude = [UInt8](value[4...])
        let negative = magnitude[0] >= 0x80
        if negative { negate(&magnitude) }
        var digits = decimalDigits(magnitude)
        if digits.isEmpty {
            key.write(0x01)
            return
        }
        let exponent = digits.count - scale
        while digits.last == 0 { digits.removeLast() }
        guard let short = Int32(exactly: exponent) else {
            throw .malformedValue(type: .decimal, byteCount: value.count)
        }
        key.write(negative ? 0x00 : 0x02)
        let start = key.count
        key.writeBE(UInt32(bitPattern: short) ^ (1 << 31))
        for digit in digits { key.write(digit + 1) }
        key.write(0)
        if negative { KeyEncoding.invert(from: start, in: &key) }
    }

    static func decode(_ source: inout KeySource, into out: inout ByteWriter) throws(KeyError) {
        let sign = try source.byte()
        if sign == 0x01 {
            out.writeBE(Int32(0))
            out.write(0)
            return
        }
        guard sign == 0x00 || sign == 0x02 else { throw .damaged(offset: source.offset) }
        var inner = KeySource(bytes: source.bytes, offset: source.offset, mask: sign == 0 ? ~source.mask : source.mask)
        let exponent = Int(Int32(bitPattern: try inner.fixed(UInt32.self) ^ (1 << 31)))
        var magnitude: [UInt32] = []
        var count = 0
        var last: UInt8 = 0
        while true {
            let digit = try inner.byte()
            if digit == 0 { break }
            // The encoder writes no leading zero digit.
            guard digit <= 10, count > 0 || digit > 1 else { throw .damaged(offset: inner.offset) }
            last = digit
            var carry = UInt64(digit - 1)
            for index in magnitude.indices.reversed() {
                carry += UInt64(magnitude[index]) * 10
                magnitude[index] = UInt32(truncatingIfNeeded: carry)
                carry >>= 32
            }
            if carry > 0 { magnitude.insert(UInt32(carry), at: 0) }
            count += 1
        }
        source.offset = inner.offset
        var scale = count - exponent
        // Nor does it write a number without digits, a trailing zero digit, or a scale that is not of 32 bits.
        guard last > 1, Int32(exactly: scale) != nil else { throw .damaged(offset: source.offset) }
        // Short numbers with trailing zeros decode with scale 0, as usually written: 1000 rather than 1E+3.
        if scale < 0 && scale >= -18 {
            for _ in 0..<(-scale) {
                var carry: UInt64 = 0
                for index in magnitude.indices.reversed() {
                    carry += UInt64(magnitude[index]) * 10
                    magnitude[index] = UInt32(truncatingIfNeeded: carry)
                    carry >>= 32
                }
                if carry > 0 { magnitude.insert(UInt32(carry), at: 0) }
            }
            scale = 0
        }
        out.writeBE(Int32(truncatingIfNeeded: scale))
        var bytes: [UInt8] = [0]
        for word in magnitude {
            for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(shift))) }
        }
        if sign == 0 { negate(&bytes) }
        while bytes.count > 1 && ((bytes[0] == 0 && bytes[1] < 0x80) || (bytes[0] == 0xff && bytes[1] >= 0x80)) {
            bytes.removeFirst()
        }
        out.write(bytes)
    }

    /// Negates a big-endian two's complement number in place.
    private static func negate(_ bytes: inout [UInt8]) {
        var carry: UInt16 = 1
        for index in bytes.indices.reversed() {
            carry += UInt16(~bytes[index])
            bytes[index] = UInt8(truncatingIfNeeded: carry)
            carry >>= 8
        }
        if carry > 0 && bytes.allSatisfy({ $0 == 0 }) { bytes.insert(1, at: 0) }
    }

    /// Returns the decimal digits of an unsigned big-endian number, most significant first; none for zero.
    private static func decimalDigits(_ magnitude: [UInt8]) -> [UInt8] {
        var rest = magnitude
        var groups: [UInt32] = []
        var from = 0
        while from < rest.count {
            if rest[from] == 0 {
                from += 1
                continue
            }
            var remainder: UInt64 = 0
            for index in from..<rest.count {
                remainder = remainder << 8 | UInt64(rest[index])
                rest[index] = UInt8(remainder / 1_000_000_000)
                remainder %= 1_000_000_000
            }
            groups.append(UInt32(remainder))
        }
        var digits: [UInt8] = []
        for (index, group) in groups.reversed().enumerated() {
            var nine = [UInt8](repeating: 0, count: 9)
            var value = group
            for place in (0..<9).reversed() {
                nine[place] = UInt8(value % 10)
                value /= 10
            }
            digits += index == 0 ? Array(nine.drop { $0 == 0 }) : nine
        }
        return digits
    }
}
