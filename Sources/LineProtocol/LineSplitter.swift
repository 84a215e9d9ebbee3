/// Splits a connection's bytes into lines.
///
/// 1. A line ends with `\n`; a `\r` before it belongs to the line end.
/// 2. A line longer than the limit is reported once, as soon as that is known, and skipped without being buffered.
/// 3. No byte is scanned twice: `scanned` is the number of bytes of the unfinished line already scanned for a line end.
///
/// **Thread safety**: one owner.
public struct LineSplitter: Sendable {
    /// The result of `next`.
    public enum Step: Sendable, Equatable {
        /// The range of a line in the input, without its line end.
        case line(Range<Int>)
        /// The line is longer than the limit. Reading continues with the next line.
        case tooLong
        /// There is no complete line: more bytes are needed.
        case needMore
    }

    public static let defaultMaxLineBytes = 32 << 20

    /// The maximum length of a line without its line end, in bytes.
    public let maxLineBytes: Int
    private var scanned = 0
    private var isSkipping = false

    public init(maxLineBytes: Int = LineSplitter.defaultMaxLineBytes) { self.maxLineBytes = max(maxLineBytes, 64) }

    /// Returns the next line of `input` after the first `consumed` bytes, and advances `consumed`.
    ///
    /// After `needMore` the caller drops the consumed bytes and passes the rest again, followed by more.
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

    /// Returns the unterminated last line when the connection has ended.
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

    /// Returns the offset of the next `\n` at or after `start`, searching eight bytes at a time.
    private static func newline(_ input: UnsafeRawBufferPointer, from start: Int) -> Int? {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var offset = start
        while input.count - offset >= 8 {
            let word =
                UInt64(littleEndian: input.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ (ones &* 0x0A)
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
