/// A parsed JSON document (RFC 8259). Numbers keep their text, so that no precision is lost.
public indirect enum JSONValue: Sendable, Equatable {
    case null
    case boolean(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    /// In source order. Names may repeat; the last one counts.
    case object([(name: String, value: JSONValue)])

    public static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.boolean(let x), .boolean(let y)): x == y
        case (.number(let x), .number(let y)), (.string(let x), .string(let y)): x == y
        case (.array(let x), .array(let y)): x == y
        case (.object(let x), .object(let y)):
            x.count == y.count && zip(x, y).allSatisfy { $0.name == $1.name && $0.value == $1.value }
        default: false
        }
    }

    /// The maximum nesting depth of arrays and objects.
    public static let maximumDepth = 64

    /// Parses a JSON document.
    ///
    /// - Throws: with the offset of the first error.
    public init(parsing text: some Collection<UInt8>) throws(ValueError) {
        var parser = JSONParser(bytes: Array(text))
        self = try parser.document()
    }

    /// The Java class of the value, for Cassandra's messages.
    var className: String {
        switch self {
        case .null: "null"
        case .boolean: "Boolean"
        case .number(let text):
            if text.utf8.contains(where: { $0 == 0x2e || $0 == 0x65 || $0 == 0x45 }) {
                "Double"
            } else if Int32(text) != nil {
                "Integer"
            } else {
                Int64(text) != nil ? "Long" : "BigInteger"
            }
        case .string: "String"
        case .array: "ArrayList"
        case .object: "LinkedHashMap"
        }
    }

    /// The value as shown in messages.
    var shown: String {
        switch self {
        case .null: "null"
        case .boolean(let value): String(value)
        case .number(let text), .string(let text): text
        case .array(let values): "[" + values.map(\.shown).joined(separator: ", ") + "]"
        case .object(let entries): "{" + entries.map { "\($0.name)=\($0.value.shown)" }.joined(separator: ", ") + "}"
        }
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var offset = 0

    var failure: ValueError {
        .invalid(
            offset < bytes.count
                ? "unexpected character at offset \(offset) of the JSON text" : "the JSON text ends too early")
    }

    mutating func document() throws(ValueError) -> JSONValue {
        let value = try value(depth: 0)
        skipSpaces()
        guard offset == bytes.count else { throw failure }
        return value
    }

    mutating func skipSpaces() {
        while offset < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[offset]) { offset += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        skipSpaces()
        guard offset < bytes.count, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }

    mutating func value(depth: Int) throws(ValueError) -> JSONValue {
        guard depth < JSONValue.maximumDepth else {
            throw .invalid("the JSON text is nested deeper than \(JSONValue.maximumDepth)")
        }
        skipSpaces()
        guard offset < bytes.count else { throw failure }
        switch bytes[offset] {
        case UInt8(ascii: "{"):
            offset += 1
            var entries: [(name: String, value: JSONValue)] = []
            if take(UInt8(ascii: "}")) { return .object(entries) }
            repeat {
                skipSpaces()
                guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { throw failure }
                let name = try string()
                guard take(UInt8(ascii: ":")) else { throw failure }
                entries.append((name, try value(depth: depth + 1)))
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "}")) else { throw failure }
            return .object(entries)
        case UInt8(ascii: "["):
            offset += 1
            var values: [JSONValue] = []
            if take(UInt8(ascii: "]")) { return .array(values) }
            repeat { values.append(try value(depth: depth + 1)) } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "]")) else { throw failure }
            return .array(values)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .boolean(true))
        case UInt8(ascii: "f"): return try word("false", .boolean(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    mutating func word(_ text: String, _ value: JSONValue) throws(ValueError) -> JSONValue {
        guard bytes[offset...].starts(with: text.utf8) else { throw failure }
        offset += text.utf8.count
        return value
    }

    mutating func digits() throws(ValueError) {
        let start = offset
        while offset < bytes.count, (0x30...0x39).contains(bytes[offset]) { offset += 1 }
        guard offset > start else { throw failure }
    }

    mutating func number() throws(ValueError) -> String {
        let start = offset
        if bytes[offset] == UInt8(ascii: "-") { offset += 1 }
        let first = offset
        try digits()
        if bytes[first] == UInt8(ascii: "0"), offset - first > 1 { throw failure }
        if offset < bytes.count, bytes[offset] == UInt8(ascii: ".") {
            offset += 1
            try digits()
        }
        if offset < bytes.count, bytes[offset] | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if offset < bytes.count, bytes[offset] == UInt8(ascii: "+") || bytes[offset] == UInt8(ascii: "-") {
                offset += 1
            }
            try digits()
        }
        return String(decoding: bytes[start..<offset], as: UTF8.self)
    }

    mutating func hexUnit() throws(ValueError) -> UInt16 {
        guard bytes.count - offset >= 4 else { throw failure }
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = HexText.value(bytes[offset]) else { throw failure }
            unit = unit << 4 | UInt16(digit)
            offset += 1
        }
        return unit
    }

    mutating func string() throws(ValueError) -> String {
        offset += 1
        var text: [UInt8] = []
        while offset < bytes.count {
            let byte = bytes[offset]
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                guard bytes.count - offset >= 2 else { throw failure }
                let escape = bytes[offset + 1]
                offset += 2
                switch escape {
                case UInt8(ascii: "n"): text.append(0x0a)
                case UInt8(ascii: "t"): text.append(0x09)
                case UInt8(ascii: "r"): text.append(0x0d)
                case UInt8(ascii: "b"): text.append(0x08)
                case UInt8(ascii: "f"): text.append(0x0c)
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escape)
                case UInt8(ascii: "u"):
                    var scalar = UInt32(try hexUnit())
                    if (0xd800...0xdbff).contains(scalar) {
                        guard bytes.count - offset >= 6, bytes[offset] == UInt8(ascii: "\\"),
                            bytes[offset + 1] == UInt8(ascii: "u")
                        else {
                            throw failure
                        }
                        offset += 2
                        let low = UInt32(try hexUnit())
                        guard (0xdc00...0xdfff).contains(low) else { throw failure }
                        scalar = 0x10000 + ((scalar - 0xd800) << 10) + (low - 0xdc00)
                    }
                    guard let character = Unicode.Scalar(scalar) else { throw failure }
                    text.append(contentsOf: String(character).utf8)
                default: throw failure
                }
            case 0..<0x20: throw failure
            default:
                text.append(byte)
                offset += 1
            }
        }
        throw failure
    }
}
