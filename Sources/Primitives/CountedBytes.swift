/// Bytes and texts behind their count, a varint, and identifiers as 16 bytes: how messages and small files put what has no fixed size.
extension ByteWriter {
    public mutating func writeCounted(_ bytes: [UInt8]) {
        writeVarint(bytes.count)
        write(bytes)
    }

    public mutating func writeCounted(_ text: String) { writeCounted(Array(text.utf8)) }

    /// Most significant byte first.
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
