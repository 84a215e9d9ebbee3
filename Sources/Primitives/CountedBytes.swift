/// Byte strings and texts with a varint length in front, and UUIDs as 16 bytes, as messages and small files encode
/// them.
extension ByteWriter {
    public mutating func writeCounted(_ bytes: [UInt8]) {
        writeVarint(bytes.count)
        write(bytes)
    }

    public mutating func writeCounted(_ text: String) { writeCounted(Array(text.utf8)) }

    /// Appends a UUID as 16 bytes, most significant first.
    public mutating func write(_ id: UUID) {
        writeBE(id.high)
        writeBE(id.low)
    }
}

extension ByteReader {
    public mutating func readCounted() throws(ByteError) -> [UInt8] { try readArray(readCount()) }

    public mutating func readCountedText() throws(ByteError) -> String { String(decoding: try readCounted(), as: UTF8.self) }

    public mutating func readUUID() throws(ByteError) -> UUID { UUID(high: try readBE(), low: try readBE()) }
}
