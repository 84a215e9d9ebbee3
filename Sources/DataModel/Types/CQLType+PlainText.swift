extension CQLType {
    /// Converts text as people and cqlsh's COPY write it outside of CQL to native bytes: text is unquoted at the top
    /// level, collections are in brackets with text in single quotes inside, booleans may be in any case. Reads what
    /// `text(_:style: .csv)` wrote.
    /// - Throws: when the text is not a value of the type, with the reason.
    public func bytes(fromPlainText text: String) throws(ValueError) -> [UInt8] {
        switch unfrozen {
        case .text, .ascii: return try bytes(fromScalarText: text)
        case .list, .set, .map, .tuple:
            var parser = PlainTextParser(text)
            let value = try parser.value(of: self, depth: 0)
            guard parser.isAtEnd else { throw parser.failure(self) }
            return value
        default: return try bytes(fromScalarText: text.trimmedOfBlanks)
        }
    }
}

extension String {
    fileprivate var trimmedOfBlanks: String {
        let blanks: Set<Character> = [" ", "\t", "\r", "\n"]
        guard let first = first, let last = last, blanks.contains(first) || blanks.contains(last) else { return self }
        return String(drop { blanks.contains($0) }.reversed().drop { blanks.contains($0) }.reversed())
    }
}

private struct PlainTextParser {
    private let bytes: [UInt8]
    private let text: String
    private var offset = 0

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    func failure(_ type: CQLType) -> ValueError {
        .invalid("Unable to make \(type) from '\(text)' at offset \(offset)")
    }

    var isAtEnd: Bool {
        var copy = self
        copy.skipBlanks()
        return copy.offset == bytes.count
    }

    mutating func skipBlanks() {
        while offset < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[offset]) { offset += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard offset < bytes.count, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }

    mutating func value(of type: CQLType, depth: Int) throws(ValueError) -> [UInt8] {
        guard depth <= CQLType.maximumDepth else { throw failure(type) }
        switch type {
        case .frozen(let inner): return try value(of: inner, depth: depth)
        case .list(let element):
            let elements = try elements(type, "[", "]") { (parser) throws(ValueError) in
                try parser.value(of: element, depth: depth + 1)
            }
            return try CollectionBuilder.list(elements)
        case .set(let element):
            let elements = try elements(type, "{", "}") { (parser) throws(ValueError) in
                try parser.value(of: element, depth: depth + 1)
            }
            return try CollectionBuilder.set(elements, of: element)
        case .map(let key, let valueType):
            let entries = try elements(type, "{", "}") { (parser) throws(ValueError) in
                let name = try parser.value(of: key, depth: depth + 1)
                guard parser.take(UInt8(ascii: ":")) else { throw parser.failure(type) }
                return (key: name, value: try parser.value(of: valueType, depth: depth + 1))
            }
            return try CollectionBuilder.map(entries, keys: key)
        case .tuple(let fields):
            var rest = fields[...]
            let parts = try elements(type, "(", ")") { (parser) throws(ValueError) -> [UInt8]? in
                guard let field = rest.popFirst() else { throw parser.failure(type) }
                return try parser.field(of: field, depth: depth + 1)
            }
            return CollectionBuilder.tuple(parts)
        default: return try type.bytes(fromScalarText: try scalar(type).text)
        }
    }

    private mutating func field(of type: CQLType, depth: Int) throws(ValueError) -> [UInt8]? {
        let start = offset
        if !type.isCollection, !type.isTuple {
            let (text, isQuoted) = try scalar(type)
            if !isQuoted, text == "null" { return nil }
            offset = start
        }
        return try value(of: type, depth: depth)
    }

    private mutating func elements<R>(
        _ type: CQLType, _ open: Unicode.Scalar, _ close: Unicode.Scalar,
        _ body: (inout PlainTextParser) throws(ValueError) -> R
    ) throws(ValueError) -> [R] {
        guard take(UInt8(ascii: open)) else { throw failure(type) }
        var values: [R] = []
        if take(UInt8(ascii: close)) { return values }
        repeat { values.append(try body(&self)) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: close)) else { throw failure(type) }
        return values
    }

    /// Parses text in single quotes, or the characters up to the next delimiter.
    private mutating func scalar(_ type: CQLType) throws(ValueError) -> (text: String, isQuoted: Bool) {
        skipBlanks()
        guard offset < bytes.count else { throw failure(type) }
        if bytes[offset] == UInt8(ascii: "'") {
            var content: [UInt8] = []
            offset += 1
            while offset < bytes.count {
                if bytes[offset] == UInt8(ascii: "'") {
                    offset += 1
                    guard offset < bytes.count, bytes[offset] == UInt8(ascii: "'") else {
                        return (String(decoding: content, as: UTF8.self), true)
                    }
                }
                content.append(bytes[offset])
                offset += 1
            }
            throw failure(type)
        }
        let start = offset
        // A colon ends the scalar, since it may be a map's key. In times and addresses it is part of the value; as map
        // keys those are quoted.
        scan: while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ")"): break scan
            case UInt8(ascii: ":") where type != .timestamp && type != .time && type != .inet: break scan
            default: offset += 1
            }
        }
        let content = bytes[start..<offset]
        guard !content.isEmpty else { throw failure(type) }
        return (String(decoding: content, as: UTF8.self).trimmedOfBlanks, false)
    }
}
