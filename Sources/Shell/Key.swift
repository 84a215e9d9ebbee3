/// A key press.
enum Key: Equatable {
    case text(String)
    case enter, tab, backspace, delete
    case left, right, up, down, home, end
    case wordLeft, wordRight
    case killToEnd, killToStart, killWordBack, killWordForward, yank, transpose
    case clearScreen, searchBack, interrupt, endOfInput, escape
    case unknown
}

/// Decodes a terminal's bytes into keys.
struct KeyDecoder {
    /// Reads the next byte; nil when there is none. Inside a key it should wait only briefly, since the bytes of one
    /// key arrive together.
    typealias Source = (_ isInsideKey: Bool) -> UInt8?

    /// Returns the next key; nil at the end of the input.
    static func next(_ source: Source) -> Key? {
        guard let byte = source(false) else { return nil }
        switch byte {
        case 0x01: return .home
        case 0x02: return .left
        case 0x03: return .interrupt
        case 0x04: return .endOfInput
        case 0x05: return .end
        case 0x06: return .right
        case 0x07: return .escape
        case 0x08, 0x7F: return .backspace
        case 0x09: return .tab
        case 0x0A, 0x0D: return .enter
        case 0x0B: return .killToEnd
        case 0x0C: return .clearScreen
        case 0x0E: return .down
        case 0x10: return .up
        case 0x12: return .searchBack
        case 0x14: return .transpose
        case 0x15: return .killToStart
        case 0x17: return .killWordBack
        case 0x19: return .yank
        case 0x1B: return escaped(source)
        case 0..<0x20: return .unknown
        default: return character(byte, source)
        }
    }

    private static func character(_ first: UInt8, _ source: Source) -> Key {
        let count = first < 0xC0 || first >= 0xF8 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        var bytes = [first]
        while bytes.count < count, let byte = source(true) { bytes.append(byte) }
        guard let text = String(validating: bytes, as: UTF8.self) else { return .unknown }
        return .text(text)
    }

    private static func escaped(_ source: Source) -> Key {
        guard let byte = source(true) else { return .escape }
        switch byte {
        case UInt8(ascii: "["): return control(source)
        case UInt8(ascii: "O"):
            switch source(true) {
            case UInt8(ascii: "H"): return .home
            case UInt8(ascii: "F"): return .end
            case UInt8(ascii: "A"): return .up
            case UInt8(ascii: "B"): return .down
            case UInt8(ascii: "C"): return .right
            case UInt8(ascii: "D"): return .left
            default: return .unknown
            }
        case UInt8(ascii: "b"), UInt8(ascii: "B"): return .wordLeft
        case UInt8(ascii: "f"), UInt8(ascii: "F"): return .wordRight
        case UInt8(ascii: "d"), UInt8(ascii: "D"): return .killWordForward
        case 0x7F, 0x08: return .killWordBack
        default: return .unknown
        }
    }

    /// Decodes what follows `ESC [`: parameters and a final byte.
    private static func control(_ source: Source) -> Key {
        var parameters = ""
        while let byte = source(true) {
            guard (0x40...0x7E).contains(byte) else {
                parameters.unicodeScalars.append(Unicode.Scalar(byte))
                continue
            }
            let isModified = parameters.hasSuffix(";5") || parameters.hasSuffix(";3")
            switch byte {
            case UInt8(ascii: "A"): return .up
            case UInt8(ascii: "B"): return .down
            case UInt8(ascii: "C"): return isModified ? .wordRight : .right
            case UInt8(ascii: "D"): return isModified ? .wordLeft : .left
            case UInt8(ascii: "H"): return .home
            case UInt8(ascii: "F"): return .end
            case UInt8(ascii: "~"):
                switch parameters.prefix(while: { $0 != ";" }) {
                case "1", "7": return .home
                case "4", "8": return .end
                case "3": return isModified ? .killWordForward : .delete
                default: return .unknown
                }
            default: return .unknown
            }
        }
        return .escape
    }
}
