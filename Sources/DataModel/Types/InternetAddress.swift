/// Conversion of IPv4 and IPv6 addresses between text (RFC 4291, 2.2) and their 4 or 16 bytes.
public enum InternetAddress {
    /// Parses an address in dotted or colon form; nil for anything else, including host names.
    public static func parse(_ text: String) -> [UInt8]? {
        text.utf8.contains(0x3a) ? parseV6(Array(text.utf8)) : parseV4(Array(text.utf8)[...])
    }

    private static func parseV4(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: 0x2e, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            let value = part.reduce(0) { $0 * 10 + Int($1 - 0x30) }
            guard value < 256 else { return nil }
            bytes.append(UInt8(value))
        }
        return bytes
    }

    private static func parseV6(_ text: [UInt8]) -> [UInt8]? {
        var head: [UInt8] = []
        var tail: [UInt8] = []
        var gap = false
        var rest = text[...]
        guard text.count <= 45 else { return nil }
        if rest.starts(with: [0x3a, 0x3a]) {
            gap = true
            rest = rest.dropFirst(2)
        } else if rest.first == 0x3a {
            return nil
        }
        while !rest.isEmpty {
            let end = rest.firstIndex(of: 0x3a) ?? rest.endIndex
            let group = rest[rest.startIndex..<end]
            if group.contains(0x2e) {
                guard end == rest.endIndex, let v4 = parseV4(group) else { return nil }
                if gap { tail += v4 } else { head += v4 }
                break
            }
            guard (1...4).contains(group.count) else { return nil }
            var value: UInt16 = 0
            for character in group {
                guard let digit = HexText.value(character) else { return nil }
                value = value << 4 | UInt16(digit)
            }
            let bytes = [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)]
            if gap { tail += bytes } else { head += bytes }
            guard end < rest.endIndex else { break }
            rest = rest[(end + 1)...]
            if rest.first == 0x3a {
                guard !gap else { return nil }
                gap = true
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        let missing = 16 - head.count - tail.count
        guard gap ? missing >= 2 : missing == 0 else { return nil }
        let bytes = head + [UInt8](repeating: 0, count: missing) + tail
        // An IPv4-mapped IPv6 address becomes the IPv4 address, as in Java.
        if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff {
            return Array(bytes.suffix(4))
        }
        return bytes
    }

    /// Formats 4 bytes in dotted form, 16 bytes as eight groups without compression, as Java and so Cassandra's JSON
    /// and casts do.
    public static func plainText(_ bytes: UnsafeRawBufferPointer) -> String {
        guard bytes.count == 16 else { return text(bytes) }
        return (0..<8).map { String(UInt16(bytes[$0 * 2]) << 8 | UInt16(bytes[$0 * 2 + 1]), radix: 16) }.joined(
            separator: ":")
    }

    /// Formats 4 bytes in dotted form, 16 bytes as in RFC 5952, with the longest run of zero groups compressed.
    public static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        if bytes.count == 4 { return "\(bytes[0]).\(bytes[1]).\(bytes[2]).\(bytes[3])" }
        guard bytes.count == 16 else { return HexText.encode(bytes) }
        let groups = (0..<8).map { UInt16(bytes[$0 * 2]) << 8 | UInt16(bytes[$0 * 2 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > best.count { best = start..<end }
            start = max(end, start + 1)
        }
        func joined(_ range: Range<Int>) -> String {
            range.map { String(groups[$0], radix: 16) }.joined(separator: ":")
        }
        if best.count < 2 { return joined(0..<8) }
        return joined(0..<best.lowerBound) + "::" + joined(best.upperBound..<8)
    }
}
