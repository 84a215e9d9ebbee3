/// Byte strings and texts with a varint length in front, and UUIDs as 16 bytes, as messages and small files encode
/// them.
extension ByteWriter {
    public mutating func writeLengthPrefixed(_ bytes: [UInt8]) {
        writeVarint(bytes.count)
        write(bytes)
    }

    public mutating func writeLengthPrefixed(_ text: String) { writeLengthPrefixed(Array(text.utf8)) }

    /// Appends a UUID as 16 bytes, most significant first.
    public mutating func write(_ id: UUID) {
        writeBE(id.high)
        writeBE(id.low)
    }
}

extension ByteReader {
    public mutating func readLengthPrefixed() throws(ByteError) -> [UInt8] { try readArray(readCount()) }

    public mutating func readLengthPrefixedText() throws(ByteError) -> String {
        String(decoding: try readLengthPrefixed(), as: UTF8.self)
    }

    public mutating func readUUID() throws(ByteError) -> UUID { UUID(high: try readBE(), low: try readBE()) }
}
