/// Splits input into statements.
///
/// A statement ends at a `;` outside of quotes, comments and batches; a shell command also ends at the end of its line.
/// Unfinished input is kept until more arrives.
struct InputSplitter {
    /// Shell commands that end at the end of their line.
    static let lineCommands: Set<String> = [
        "help", "?", "consistency", "serial", "describe", "desc", "show", "source", "capture", "login", "expand",
        "tracing", "paging",
        "exit", "quit", "clear", "cls",
    ]

    private var pending: [UInt8] = []

    /// Whether there is an unfinished statement.
    var isInsideStatement: Bool { InputSplitter.skipBlanks(pending, 0) < pending.count }

    /// The unfinished input.
    var unfinished: String { String(decoding: pending, as: UTF8.self) }

    mutating func clear() { pending.removeAll() }

    /// Adds input and returns the statements it completes, without their `;`.
    mutating func feed(_ text: some Sequence<UInt8>) -> [String] {
        pending.append(contentsOf: text)
        var statements: [String] = []
        var start = 0
        while let (range, next) = InputSplitter.statement(pending, from: start) {
            if !range.isEmpty { statements.append(String(decoding: pending[range], as: UTF8.self)) }
            start = next
        }
        pending.removeFirst(start)
        return statements
    }

    /// Ends the input. Returns the last statement if it has text.
    mutating func finish() -> String? {
        defer { pending.removeAll() }
        let start = InputSplitter.skipBlanks(pending, 0)
        guard start < pending.count else { return nil }
        var end = pending.count
        while end > start, isBlank(pending[end - 1]) { end -= 1 }
        return String(decoding: pending[start..<end], as: UTF8.self)
    }

    private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    /// Returns the offset of the first byte that is neither blank nor part of a comment. An unclosed comment counts as
    /// text.
    private static func skipBlanks(_ bytes: [UInt8], _ start: Int) -> Int {
        var offset = start
        while offset < bytes.count {
            if bytes[offset] == 0x20 || (0x09...0x0D).contains(bytes[offset]) {
                offset += 1
                continue
            }
            guard let end = commentEnd(bytes, offset) else { return offset }
            offset = end
        }
        return offset
    }

    /// Returns the end of the comment that begins at `offset`; nil when there is none or it is not closed.
    private static func commentEnd(_ bytes: [UInt8], _ offset: Int) -> Int? {
        guard offset + 1 < bytes.count else { return nil }
        switch (bytes[offset], bytes[offset + 1]) {
        case (UInt8(ascii: "-"), UInt8(ascii: "-")), (UInt8(ascii: "/"), UInt8(ascii: "/")):
            var end = offset + 2
            while end < bytes.count, bytes[end] != 0x0A { end += 1 }
            return end < bytes.count ? end : bytes.count
        case (UInt8(ascii: "/"), UInt8(ascii: "*")):
            var end = offset + 2
            while end + 1 < bytes.count {
                if bytes[end] == UInt8(ascii: "*"), bytes[end + 1] == UInt8(ascii: "/") { return end + 2 }
                end += 1
            }
            return nil
        default: return nil
        }
    }

    /// Returns the range of the statement that begins at `from` and the start of the next one; nil when it is
    /// unfinished.
    private static func statement(_ bytes: [UInt8], from: Int) -> (Range<Int>, Int)? {
        let start = skipBlanks(bytes, from)
        guard start < bytes.count else { return nil }
        if bytes[start] == UInt8(ascii: ";") { return (start..<start, start + 1) }
        let endsWithLine = lineCommands.contains(word(bytes, start).lowercased())
        var words: [String] = []
        var isBatch = false
        var offset = start
        while offset < bytes.count {
            let byte = bytes[offset]
            switch byte {
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                guard let end = closing(bytes, offset + 1, byte) else { return nil }
                offset = end
            case UInt8(ascii: "$") where offset + 1 < bytes.count && bytes[offset + 1] == UInt8(ascii: "$"):
                guard let end = dollarEnd(bytes, offset + 2) else { return nil }
                offset = end
            case UInt8(ascii: "-"), UInt8(ascii: "/"):
                if offset + 1 < bytes.count, byte == UInt8(ascii: "/"), bytes[offset + 1] == UInt8(ascii: "*"),
                    commentEnd(bytes, offset) == nil
                {
                    return nil
                }
                offset = commentEnd(bytes, offset) ?? offset + 1
            case UInt8(ascii: ";"):
                if !isBatch || words.suffix(2) == ["apply", "batch"] {
                    return (trimmed(bytes, start..<offset), offset + 1)
                }
                offset += 1
            case 0x0A where endsWithLine: return (trimmed(bytes, start..<offset), offset + 1)
            case _ where isWordByte(byte):
                let text = word(bytes, offset)
                if words.count < 3 || isBatch { words.append(text.lowercased()) }
                if words.count <= 3, words.first == "begin", words.last == "batch" { isBatch = true }
                if words.count > 8 { words.removeFirst(words.count - 4) }
                offset += text.utf8.count
            default: offset += 1
            }
        }
        return nil
    }

    private static func trimmed(_ bytes: [UInt8], _ range: Range<Int>) -> Range<Int> {
        var end = range.upperBound
        while end > range.lowerBound, bytes[end - 1] == 0x20 || (0x09...0x0D).contains(bytes[end - 1]) { end -= 1 }
        return range.lowerBound..<end
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || byte == 0x5F || byte >= 0x80
    }

    private static func word(_ bytes: [UInt8], _ start: Int) -> String {
        if start < bytes.count, bytes[start] == UInt8(ascii: "?") { return "?" }
        var end = start
        while end < bytes.count, isWordByte(bytes[end]) { end += 1 }
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    /// Returns the offset after the closing quote, skipping doubled quotes; nil when there is none.
    private static func closing(_ bytes: [UInt8], _ start: Int, _ quote: UInt8) -> Int? {
        var offset = start
        while offset < bytes.count {
            if bytes[offset] == quote {
                guard offset + 1 < bytes.count, bytes[offset + 1] == quote else { return offset + 1 }
                offset += 1
            }
            offset += 1
        }
        return nil
    }

    private static func dollarEnd(_ bytes: [UInt8], _ start: Int) -> Int? {
        var offset = start
        while offset + 1 < bytes.count {
            if bytes[offset] == UInt8(ascii: "$"), bytes[offset + 1] == UInt8(ascii: "$") { return offset + 2 }
            offset += 1
        }
        return nil
    }
}
