import DataModel
import Primitives

/// Text encodings of the line protocol.
enum LineText {
    /// Appends `text` as a JSON string.
    static func writeJSON(_ text: String, into out: inout ByteWriter) {
        var copy = text
        copy.withUTF8 { CQLType.appendJSONString(UnsafeRawBufferPointer($0), to: &out) }
    }

    /// Appends text with every run of line breaks replaced by one space.
    static func writeSingleLine(_ text: String, into out: inout ByteWriter) {
        var copy = text
        copy.withUTF8 { bytes in
            var isInRun = false
            for byte in bytes {
                if byte == 0x0A || byte == 0x0D {
                    if !isInRun { out.write(UInt8(ascii: " ")) }
                    isInRun = true
                } else {
                    out.write(byte)
                    isInRun = false
                }
            }
        }
    }

    /// Appends a tab-separated text value with tabs, line breaks and backslashes escaped.
    static func writeTabSafe(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
        for byte in bytes {
            switch byte {
            case 0x09: out.write("\\t")
            case 0x0A: out.write("\\n")
            case 0x0D: out.write("\\r")
            case UInt8(ascii: "\\"): out.write("\\\\")
            default: out.write(byte)
            }
        }
    }
}
