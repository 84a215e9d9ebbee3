import DataModel
import Primitives

/// Iterates over the members of one JSON object without building it.
struct JSONLine {
    enum Kind { case string, escapedString, scalar, null, nested }

    struct Member {
        /// The text between the quotes, escapes included.
        var key: UnsafeRawBufferPointer
        var keyHasEscapes: Bool
        var kind: Kind
        /// For strings the text between the quotes, for other values their whole text.
        var value: UnsafeRawBufferPointer
    }

    /// Why a line is not a JSON object, and where.
    struct Damage: Error { let reason: String }

    private let bytes: UnsafeRawBufferPointer
    private var offset = 0
    private var hasBegun = false

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Returns the next member; nil after the last.
    mutating func next() throws(Damage) -> Member? {
        skipBlanks()
        if !hasBegun {
            guard take(UInt8(ascii: "{")) else { throw damage("an object expected") }
            hasBegun = true
            skipBlanks()
            if take(UInt8(ascii: "}")) { return try end() }
        } else if take(UInt8(ascii: "}")) {
            return try end()
        } else {
            guard take(UInt8(ascii: ",")) else { throw damage("',' or '}' expected") }
            skipBlanks()
        }
        let (key, keyHasEscapes) = try string()
        skipBlanks()
        guard take(UInt8(ascii: ":")) else { throw damage("':' expected") }
        skipBlanks()
        guard offset < bytes.count else { throw damage("a value expected") }
        switch bytes[offset] {
        case UInt8(ascii: "\""):
            let (value, hasEscapes) = try string()
            return Member(
                key: key, keyHasEscapes: keyHasEscapes, kind: hasEscapes ? .escapedString : .string, value: value)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            let start = offset
            try skipNested()
            return Member(
                key: key, keyHasEscapes: keyHasEscapes, kind: .nested,
                value: UnsafeRawBufferPointer(rebasing: bytes[start..<offset]))
        default:
            let start = offset
            while offset < bytes.count, bytes[offset] != UInt8(ascii: ","), bytes[offset] != UInt8(ascii: "}"),
                bytes[offset] > 0x20
            {
                offset += 1
            }
            guard offset > start else { throw damage("a value expected") }
            let value = UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
            let isNull = value.count == 4 && value.elementsEqual("null".utf8)
            if !isNull && NumberText.boolean(value) == nil && NumberText.double(value) == nil {
                throw damage("'\(String(decoding: value, as: UTF8.self))' is not a value")
            }
            return Member(key: key, keyHasEscapes: keyHasEscapes, kind: isNull ? .null : .scalar, value: value)
        }
    }

    private mutating func end() throws(Damage) -> Member? {
        skipBlanks()
        guard offset == bytes.count else { throw damage("something follows the object") }
        return nil
    }

    private func damage(_ what: String) -> Damage { Damage(reason: "not JSON: \(what) at column \(offset + 1)") }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard offset < bytes.count, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }

    private mutating func skipBlanks() {
        while offset < bytes.count,
            bytes[offset] == 0x20 || bytes[offset] == 0x09 || bytes[offset] == 0x0D || bytes[offset] == 0x0A
        {
            offset += 1
        }
    }

    private mutating func string() throws(Damage) -> (UnsafeRawBufferPointer, Bool) {
        guard take(UInt8(ascii: "\"")) else { throw damage("'\"' expected") }
        let start = offset
        var hasEscapes = false
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == UInt8(ascii: "\"") {
                offset += 1
                return (UnsafeRawBufferPointer(rebasing: bytes[start..<offset - 1]), hasEscapes)
            }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                offset += 1
            }
            offset += 1
        }
        offset = min(offset, bytes.count)
        throw damage("a string is not closed")
    }

    private mutating func skipNested() throws(Damage) {
        var depth = 0
        while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                _ = try string()
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 {
                    offset += 1
                    return
                }
            default: break
            }
            offset += 1
        }
        throw damage("an array or object is not closed")
    }

    /// Returns the text of a string with escapes; nil when an escape is invalid.
    static func unescaped(_ inner: UnsafeRawBufferPointer) -> String? {
        do throws(ValueError) {
            guard
                case .string(let text) = try JSONValue(
                    parsing: [UInt8(ascii: "\"")] + Array(inner) + [UInt8(ascii: "\"")])
            else {
                return nil
            }
            return text
        } catch {
            return nil
        }
    }
}
