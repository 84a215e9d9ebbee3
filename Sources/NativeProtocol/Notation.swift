import Primitives

/// Writes the notations of native_protocol_v5.spec, section 3.
extension ByteWriter {
    /// Writes a [string]. Text longer than 65,535 bytes is truncated at a character boundary; only messages can be that
    /// long.
    mutating func writeString(_ text: String) {
        var copy = text
        copy.withUTF8 { bytes in
            var length = min(bytes.count, Int(UInt16.max))
            if length < bytes.count { while length > 0 && bytes[length] & 0xC0 == 0x80 { length -= 1 } }
            writeBE(UInt16(length))
            write(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<length]))
        }
    }

    /// Writes a [string list]; strings beyond the first 65,535 are dropped.
    mutating func writeStringList(_ list: [String]) {
        writeBE(UInt16(clamping: list.count))
        for text in list.prefix(Int(UInt16.max)) { writeString(text) }
    }

    mutating func writeLongString(_ text: String) {
        var copy = text
        copy.withUTF8 { bytes in
            writeBE(Int32(bytes.count))
            write(UnsafeRawBufferPointer(bytes))
        }
    }

    mutating func writeShortBytes(_ bytes: [UInt8]) {
        precondition(bytes.count <= Int(UInt16.max), "[short bytes] of \(bytes.count) bytes")
        writeBE(UInt16(bytes.count))
        write(bytes)
    }

    /// Writes [bytes]; nil is null.
    mutating func writeBytes(_ bytes: [UInt8]?) {
        guard let bytes else { return writeBE(Int32(-1)) }
        writeBE(Int32(bytes.count))
        write(bytes)
    }
}
