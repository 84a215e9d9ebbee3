/// CSV text in the format of cqlsh's COPY.
struct CSVText {
    var delimiter: UInt8
    var quote: UInt8
    var escape: UInt8

    /// Appends a field, quoted if necessary.
    func write(_ text: String, into out: inout [UInt8]) {
        let bytes = Array(text.utf8)
        let needsQuotes = bytes.contains { $0 == delimiter || $0 == quote || $0 == 0x0A || $0 == 0x0D }
        if needsQuotes { out.append(quote) }
        for byte in bytes {
            if byte == escape || (needsQuotes && byte == quote) { out.append(escape) }
            out.append(byte)
        }
        if needsQuotes { out.append(quote) }
    }

    /// A field, and whether it was quoted: an empty quoted field is not null.
    struct Field: Equatable {
        var text: String
        var isQuoted: Bool
    }

    /// Returns the record that begins at `start` and the offset of the next one; nil when `bytes` ends inside the
    /// record and `isLast` is false.
    func record(_ bytes: [UInt8], from start: Int, isLast: Bool) -> (fields: [Field], next: Int)? {
        var fields: [Field] = []
        var field: [UInt8] = []
        var isQuoted = false
        var isInside = false
        var offset = start
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == escape, escape != quote, offset + 1 < bytes.count {
                field.append(bytes[offset + 1])
                offset += 2
                continue
            }
            if isInside {
                if byte == quote {
                    if offset + 1 < bytes.count, bytes[offset + 1] == quote {
                        field.append(quote)
                        offset += 2
                        continue
                    }
                    if offset + 1 == bytes.count && !isLast { return nil }
                    isInside = false
                } else {
                    field.append(byte)
                }
            } else if byte == quote, field.isEmpty, !isQuoted {
                isInside = true
                isQuoted = true
            } else if byte == delimiter {
                fields.append(Field(text: String(decoding: field, as: UTF8.self), isQuoted: isQuoted))
                field.removeAll(keepingCapacity: true)
                isQuoted = false
            } else if byte == 0x0A {
                fields.append(Field(text: String(decoding: field, as: UTF8.self), isQuoted: isQuoted))
                return (fields, offset + 1)
            } else if byte != 0x0D || (offset + 1 < bytes.count && bytes[offset + 1] != 0x0A) {
                field.append(byte)
            }
            offset += 1
        }
        guard isLast, offset > start else { return nil }
        fields.append(Field(text: String(decoding: field, as: UTF8.self), isQuoted: isQuoted))
        return (fields, offset)
    }
}
