import Primitives

/// Splits CSV text into records and fields (RFC 4180), with any delimiter.
///
///     file   := record*
///     record := field (delimiter field)* line-end
///     field  := '"' (any byte but '"' | '""')* '"' | any bytes but delimiter and line end
///
/// A quote inside a field that did not begin with one is an ordinary byte.
struct CSVDialect: Sendable, Equatable {
    var delimiter: UInt8
    let quote = UInt8(ascii: "\"")

    /// A field: a slice of the record, or its unescaped copy in the caller's scratch buffer.
    struct Field {
        var bytes: UnsafeRawBufferPointer
        var isQuoted: Bool
        /// Whether it is the last field of its record.
        var isLast: Bool
        /// The offset of the next field or record.
        var next: Int
        /// The number of line ends inside the field, or ending its record.
        var lineEnds: Int
    }

    /// Returns the field that begins at `start`. `scratch` holds its bytes when quotes had to be removed.
    ///
    /// SAFETY: the field's bytes are borrowed from `bytes` or `scratch` until either changes.
    @inline(__always) func field(_ bytes: UnsafeRawBufferPointer, from start: Int, scratch: inout ByteWriter) -> Field {
        if start < bytes.count, bytes[start] == quote { return quotedField(bytes, from: start, scratch: &scratch) }
        var offset = start
        let delimiter = delimiter
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == delimiter {
                return Field(
                    bytes: slice(bytes, start, offset), isQuoted: false, isLast: false, next: offset + 1, lineEnds: 0)
            }
            if byte == 0x0A {
                let end = offset > start && bytes[offset - 1] == 0x0D ? offset - 1 : offset
                return Field(
                    bytes: slice(bytes, start, end), isQuoted: false, isLast: true, next: offset + 1, lineEnds: 1)
            }
            offset += 1
        }
        let end = offset > start && bytes[offset - 1] == 0x0D ? offset - 1 : offset
        return Field(bytes: slice(bytes, start, end), isQuoted: false, isLast: true, next: offset, lineEnds: 0)
    }

    @inline(__always) private func slice(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int)
        -> UnsafeRawBufferPointer
    {
        UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    @inline(never) private func quotedField(_ bytes: UnsafeRawBufferPointer, from start: Int, scratch: inout ByteWriter)
        -> Field
    {
        var offset = start + 1
        var lineEnds = 0
        var hasEscapes = false
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == 0x0A { lineEnds += 1 }
            if byte == quote {
                guard offset + 1 < bytes.count, bytes[offset + 1] == quote else { break }
                hasEscapes = true
                offset += 1
            }
            offset += 1
        }
        let end = min(offset, bytes.count)
        // Text between the closing quote and the delimiter is appended to the field, as most CSV readers do.
        var after = min(end + 1, bytes.count)
        let tail = after
        while after < bytes.count, bytes[after] != delimiter, bytes[after] != 0x0A { after += 1 }
        let isAtLineEnd = after < bytes.count && bytes[after] == 0x0A
        let tailEnd = after > tail && bytes[after - 1] == 0x0D ? after - 1 : after
        var content = slice(bytes, min(start + 1, end), end)
        if hasEscapes || tailEnd > tail {
            scratch.removeAll()
            var index = 0
            while index < content.count {
                scratch.write(content[index])
                index += content[index] == quote ? 2 : 1
            }
            scratch.write(slice(bytes, tail, tailEnd))
            content = scratch.bytes
        }
        let isLast = isAtLineEnd || after >= bytes.count
        return Field(
            bytes: content, isQuoted: true, isLast: isLast, next: min(after + 1, bytes.count),
            lineEnds: lineEnds + (isAtLineEnd ? 1 : 0))
    }

    /// Returns the end of the last complete record in `bytes`; nil when there is none. `bytes` begins with a record.
    func lastRecordEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.contains(quote) else {
            var end = bytes.count
            while end > 0 { if bytes[end - 1] == 0x0A { return end } else { end -= 1 } }
            return nil
        }
        var end: Int?
        var offset = 0
        var isAtFieldStart = true
        while offset < bytes.count {
            let byte = bytes[offset]
            if isAtFieldStart && byte == quote {
                offset += 1
                while offset < bytes.count {
                    if bytes[offset] == quote {
                        guard offset + 1 < bytes.count, bytes[offset + 1] == quote else { break }
                        offset += 1
                    }
                    offset += 1
                }
                if offset >= bytes.count { return end }
                isAtFieldStart = false
            } else {
                isAtFieldStart = byte == delimiter || byte == 0x0A
                if byte == 0x0A { end = offset + 1 }
            }
            offset += 1
        }
        return end
    }
}
