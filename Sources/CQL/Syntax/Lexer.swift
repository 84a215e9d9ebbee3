import DataModel

/// Splits the UTF-8 bytes of CQL text into tokens, one at a time, in linear time.
struct Lexer {
    let bytes: [UInt8]
    /// The offset of the next token; may be set back to the start of any token.
    var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    @inline(__always) private func byte(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }

    static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte | 0x20) }
    static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    static func isWordByte(_ byte: UInt8) -> Bool { isLetter(byte) || isDigit(byte) || byte == 0x5f }

    /// Returns the next token; at the end of the text, always `.end`.
    /// - Throws: a syntax error for a character that begins no token, or for an unterminated quoted text.
    mutating func next() throws(ServerError) -> Token {
        try skipBlanks()
        guard offset < bytes.count else { return Token(kind: .end, start: bytes.count, end: bytes.count) }
        let start = offset
        let first = bytes[offset]
        if HexText.value(first) != nil, let end = uuidEnd(start) { return finish(.uuid, start, end) }
        if Self.isDigit(first) { return number(start) }
        if first == UInt8(ascii: "P"), let end = isoDurationEnd(start) { return finish(.duration, start, end) }
        if Self.isLetter(first) {
            var end = start + 1
            while end < bytes.count, Self.isWordByte(bytes[end]) { end += 1 }
            return finish(.word, start, end)
        }
        switch first {
        case UInt8(ascii: "'"): return finish(.string, start, try quotedEnd(start, first))
        case UInt8(ascii: "\""): return finish(.quotedName, start, try quotedEnd(start, first))
        case UInt8(ascii: "$") where byte(start + 1) == UInt8(ascii: "$"):
            var end = start + 2
            while end < bytes.count {
                if bytes[end] == UInt8(ascii: "$"), byte(end + 1) == UInt8(ascii: "$") {
                    return finish(.dollarString, start, end + 2)
                }
                end += 1
            }
            throw SyntaxProblem.at(bytes.count, in: bytes, "mismatched character '<EOF>' expecting '$'")
        case UInt8(ascii: "?"): return finish(.questionMark, start, start + 1)
        case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "!"), UInt8(ascii: "+"), UInt8(ascii: "-"):
            let second = byte(start + 1)
            if second == UInt8(ascii: "=") { return symbol(start, 2) }
            if first != UInt8(ascii: "!") { return symbol(start, 1) }
        case UInt8(ascii: "."):
            return symbol(start, byte(start + 1) == UInt8(ascii: ".") ? 2 : 1)
        case UInt8(ascii: "="), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "["), UInt8(ascii: "]"),
            UInt8(ascii: "{"),
            UInt8(ascii: "}"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: ":"), UInt8(ascii: "*"),
            UInt8(ascii: "/"),
            UInt8(ascii: "%"):
            return symbol(start, 1)
        default: break
        }
        var end = start + 1
        while end < bytes.count, bytes[end] & 0xc0 == 0x80 { end += 1 }
        throw SyntaxProblem.at(
            start, in: bytes,
            "no viable alternative at character '\(String(decoding: bytes[start..<end], as: UTF8.self))'")
    }

    private mutating func finish(_ kind: Token.Kind, _ start: Int, _ end: Int) -> Token {
        offset = end
        return Token(kind: kind, start: start, end: end)
    }

    private mutating func symbol(_ start: Int, _ length: Int) -> Token {
        offset = start + length
        let value = UInt16(bytes[start]) | (length == 2 ? UInt16(bytes[start + 1]) << 8 : 0)
        return Token(kind: .symbol, symbol: value, start: start, end: offset)
    }

    /// Skips white space and comments.
    private mutating func skipBlanks() throws(ServerError) {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x09, 0x0a, 0x0d: offset += 1
            case UInt8(ascii: "-") where byte(offset + 1) == UInt8(ascii: "-"),
                UInt8(ascii: "/") where byte(offset + 1) == UInt8(ascii: "/"):
                while offset < bytes.count, bytes[offset] != 0x0a, bytes[offset] != 0x0d { offset += 1 }
            case UInt8(ascii: "/") where byte(offset + 1) == UInt8(ascii: "*"):
                var end = offset + 2
                while end < bytes.count, !(bytes[end] == UInt8(ascii: "*") && byte(end + 1) == UInt8(ascii: "/")) {
                    end += 1
                }
                guard end < bytes.count else {
                    throw SyntaxProblem.at(bytes.count, in: bytes, "mismatched character '<EOF>' expecting '*'")
                }
                offset = end + 2
            default: return
            }
        }
    }

    /// Returns the end of a quoted text, in which a doubled quote is an escaped quote.
    private func quotedEnd(_ start: Int, _ quote: UInt8) throws(ServerError) -> Int {
        var end = start + 1
        while end < bytes.count {
            if bytes[end] == quote {
                guard byte(end + 1) == quote else { return end + 1 }
                end += 1
            }
            end += 1
        }
        let shown = quote == UInt8(ascii: "'") ? "'''" : "'\"'"
        throw SyntaxProblem.at(bytes.count, in: bytes, "mismatched character '<EOF>' expecting \(shown)")
    }

    /// Returns the end of a UUID (8-4-4-4-12 hexadecimal digits) if one starts here.
    private func uuidEnd(_ start: Int) -> Int? {
        guard bytes.count - start >= 36, bytes[start + 8] == UInt8(ascii: "-") else { return nil }
        for place in 0..<36 {
            if place == 8 || place == 13 || place == 18 || place == 23 {
                guard bytes[start + place] == UInt8(ascii: "-") else { return nil }
            } else if HexText.value(bytes[start + place]) == nil {
                return nil
            }
        }
        return Self.isWordByte(byte(start + 36)) ? nil : start + 36
    }

    private mutating func number(_ start: Int) -> Token {
        if bytes[start] == UInt8(ascii: "0"), byte(start + 1) | 0x20 == UInt8(ascii: "x") {
            var end = start + 2
            while HexText.value(byte(end)) != nil { end += 1 }
            return finish(.hex, start, end)
        }
        var end = start
        while Self.isDigit(byte(end)) { end += 1 }
        if let duration = unitDurationEnd(start) { return finish(.duration, start, duration) }
        var isFloat = false
        // `1..3` is a range from 1 to 3; it does not contain the number `1.`.
        if byte(end) == UInt8(ascii: "."), byte(end + 1) != UInt8(ascii: ".") {
            isFloat = true
            end += 1
            while Self.isDigit(byte(end)) { end += 1 }
        }
        if byte(end) | 0x20 == UInt8(ascii: "e") {
            var power = end + 1
            if byte(power) == UInt8(ascii: "+") || byte(power) == UInt8(ascii: "-") { power += 1 }
            if Self.isDigit(byte(power)) {
                while Self.isDigit(byte(power)) { power += 1 }
                isFloat = true
                end = power
            }
        }
        return finish(isFloat ? .float : .integer, start, end)
    }

    /// Returns the end of a duration such as `1y2mo3d4h`.
    private func unitDurationEnd(_ start: Int) -> Int? {
        var end = start
        var groups = 0
        while Self.isDigit(byte(end)) {
            while Self.isDigit(byte(end)) { end += 1 }
            let unit = end
            while Self.isLetter(byte(end)) || byte(end) == 0xc2 && byte(end + 1) == 0xb5
                || byte(end) == 0xb5 && byte(end - 1) == 0xc2
            {
                end += 1
            }
            let name = String(decoding: bytes[unit..<end], as: UTF8.self).lowercased()
            guard ["y", "mo", "w", "d", "h", "m", "s", "ms", "us", "\u{b5}s", "ns"].contains(name) else { return nil }
            groups += 1
        }
        return groups > 0 && !Self.isWordByte(byte(end)) ? end : nil
    }

    /// Returns the end of `P1Y2M3DT4H`, `P2W` or `P0001-02-03T04:05:06`.
    private func isoDurationEnd(_ start: Int) -> Int? {
        let second = byte(start + 1)
        guard Self.isDigit(second) || second == UInt8(ascii: "T") && Self.isDigit(byte(start + 2)) else { return nil }
        var end = start + 1
        scan: while end < bytes.count {
            switch bytes[end] {
            case 0x30...0x39, UInt8(ascii: "Y"), UInt8(ascii: "M"), UInt8(ascii: "W"), UInt8(ascii: "D"),
                UInt8(ascii: "T"),
                UInt8(ascii: "H"),
                UInt8(ascii: "S"):
                end += 1
            case UInt8(ascii: "-") where end - start == 5 || end - start == 8,
                UInt8(ascii: ":") where end - start == 14 || end - start == 17:
                end += 1
            default: break scan
            }
            // Too long for a duration: a name.
            if end - start > 80 { return nil }
        }
        if Self.isWordByte(byte(end)) { return nil }
        do throws(ValueError) {
            _ = try DurationValue(String(decoding: bytes[start..<end], as: UTF8.self))
            return end
        } catch { return nil }
    }
}
