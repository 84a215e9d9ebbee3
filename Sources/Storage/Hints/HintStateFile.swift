import Primitives

/// The position and overflow files beside the segments: a few numbers as lines of text, with a checksum.
///
///     position := "auspex hint position 1\n" "offset N\n" "checksum HEX\n"
///     overflow := "auspex hint overflow 1\n" "first SECONDS\n" "last SECONDS\n" "checksum HEX\n"
///
/// Each is replaced as a whole: after a crash it is the old one or the new one.
enum HintStateFile {
    static func position(_ offset: Int) -> [UInt8] { encode("position", [("offset", UInt64(offset))]) }

    static func overflow(_ overflow: HintOverflow) -> [UInt8] {
        encode("overflow", [("first", UInt64(overflow.first)), ("last", UInt64(overflow.last))])
    }

    /// Decodes a position file; nil when it is not valid.
    static func decodePosition(_ bytes: [UInt8]) -> Int? {
        decode("position", ["offset"], bytes).flatMap { Int(exactly: $0[0]) }
    }

    /// Decodes an overflow file; nil when it is not valid.
    static func decodeOverflow(_ bytes: [UInt8]) -> HintOverflow? {
        guard let values = decode("overflow", ["first", "last"], bytes), let first = UInt32(exactly: values[0]),
            let last = UInt32(exactly: values[1]), first <= last
        else { return nil }
        return HintOverflow(first: first, last: last)
    }

    private static func encode(_ kind: String, _ values: [(String, UInt64)]) -> [UInt8] {
        var text = "auspex hint \(kind) 1\n"
        for (name, value) in values { text += "\(name) \(value)\n" }
        return Array((text + "checksum \(String(Checksum.xxh3(Array(text.utf8)), radix: 16))\n").utf8)
    }

    private static func decode(_ kind: String, _ names: [String], _ bytes: [UInt8]) -> [UInt64]? {
        guard bytes.count < 256 else { return nil }
        var values: [UInt64] = []
        let lines = bytes.split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
        guard lines.count == names.count + 2 else { return nil }
        for (name, line) in zip(names, lines.dropFirst()) {
            let words = line.split(separator: " ")
            guard words.count == 2, words[0] == name, let value = UInt64(words[1]) else { return nil }
            values.append(value)
        }
        // Comparing with the re-encoded values checks the checksum, the first line and that nothing else is in the
        // file.
        guard encode(kind, Array(zip(names, values))) == bytes else { return nil }
        return values
    }
}

/// A file name in a hint directory.
enum HintFileName: Equatable {
    private static let largestNumber: UInt64 = 1 << 62

    case segment(UUID, UInt64)
    case position(UUID, UInt64)
    case overflow(UUID)
    /// A temporary file that a crash left behind.
    case temporary

    var text: String {
        switch self {
        case .segment(let target, let number): "\(target)-\(number).hints"
        case .position(let target, let number): "\(target)-\(number).pos"
        case .overflow(let target): "\(target).overflow"
        case .temporary: ".tmp"
        }
    }

    /// Returns nil for a file that does not belong to the store.
    init?(_ name: String) {
        if name.hasSuffix(".tmp") {
            // Only the store's own temporary files count, since those are removed.
            guard HintFileName(String(name.dropLast(4))) != nil else { return nil }
            self = .temporary
            return
        }
        guard name.utf8.count > 36, let target = UUID(name.prefix(36)) else { return nil }
        let rest = name.dropFirst(36)
        if rest == ".overflow" {
            self = .overflow(target)
        } else if rest.hasPrefix("-"), rest.hasSuffix(".hints"), let number = UInt64(rest.dropFirst().dropLast(6)) {
            self = .segment(target, number)
        } else if rest.hasPrefix("-"), rest.hasSuffix(".pos"), let number = UInt64(rest.dropFirst().dropLast(4)) {
            self = .position(target, number)
        } else {
            return nil
        }
        // Accept only the canonical name: no leading zeros, no capitals; and no number that greater ones cannot follow.
        guard text == name else { return nil }
        switch self {
        case .segment(_, let number), .position(_, let number): if number > HintFileName.largestNumber { return nil }
        case .overflow, .temporary: break
        }
    }
}
