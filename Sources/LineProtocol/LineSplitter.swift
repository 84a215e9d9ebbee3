/// Cuts a connection's bytes into lines, whatever pieces they arrive in.
///
/// 1. `\n` ends a line; a `\r` before it belongs to the end.
/// 2. A line longer than the limit is reported once, when that is known, and stepped over up to its end, without being kept.
/// 3. No byte is looked at twice: `scanned` remembers how much of the unfinished line holds no end.
///
/// **Thread safety**: one owner.
public struct LineSplitter: Sendable {
    /// What stands at the beginning of the input.
    public enum Step: Sendable, Equatable {
        /// A line, without its end: the place in the input.
        case line(Range<Int>)
        /// The line is longer than the limit; what follows it is read again.
        case tooLong
        /// No whole line: more bytes are needed.
        case needMore
    }

    public static let defaultMaxLineBytes = 32 << 20

    /// The longest line accepted, in bytes, its end not counted.
    public let maxLineBytes: Int
    private var scanned = 0
    private var isSkipping = false

    public init(maxLineBytes: Int = LineSplitter.defaultMaxLineBytes) { self.maxLineBytes = max(maxLineBytes, 64) }

    /// The next line of `input`, of which the first `consumed` bytes are done with; moves `consumed`.
    ///
    /// After `needMore` the caller drops the consumed bytes and presents the rest again, followed by more.
    public mutating func next(_ input: UnsafeRawBufferPointer, consumed: inout Int) -> Step {
        while true {
            guard let end = LineSplitter.newline(input, from: consumed + scanned) else {
                if isSkipping {
                    consumed = input.count
                    return .needMore
                }
                scanned = input.count - consumed
                guard scanned > maxLineBytes + 1 else { return .needMore }
                isSkipping = true
                scanned = 0
                consumed = input.count
                return .tooLong
            }
            let start = consumed
            consumed = end + 1
            scanned = 0
            if isSkipping {
                isSkipping = false
                continue
            }
            let line = LineSplitter.withoutReturn(input, start..<end)
            return line.count > maxLineBytes ? .tooLong : .line(line)
        }
    }

    /// The line that the end of the connection ends, if there is one.
    public mutating func last(_ input: UnsafeRawBufferPointer, consumed: inout Int) -> Step {
        let start = consumed
        consumed = input.count
        scanned = 0
        if isSkipping || start == input.count { return .needMore }
        let line = LineSplitter.withoutReturn(input, start..<input.count)
        return line.count > maxLineBytes ? .tooLong : .line(line)
    }

    private static func withoutReturn(_ input: UnsafeRawBufferPointer, _ line: Range<Int>) -> Range<Int> {
        !line.isEmpty && input[line.upperBound - 1] == UInt8(ascii: "\r") ? line.lowerBound..<line.upperBound - 1 : line
    }

    /// Where the next `\n` stands at or after `start`, found eight bytes at a time.
    private static func newline(_ input: UnsafeRawBufferPointer, from start: Int) -> Int? {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var offset = start
        while input.count - offset >= 8 {
            let word = UInt64(littleEndian: input.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ (ones &* 0x0A)
            let hits = (word &- ones) & ~word & (ones &* 0x80)
            if hits != 0 { return offset + hits.trailingZeroBitCount / 8 }
            offset += 8
        }
        while offset < input.count {
            if input[offset] == 0x0A { return offset }
            offset += 1
        }
        return nil
    }
}
