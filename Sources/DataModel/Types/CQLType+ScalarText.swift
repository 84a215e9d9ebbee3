import Primitives

extension CQLType {
    /// Decodes an integer; nil when `bytes` do not have its width.
    @inlinable public static func integer<T: FixedWidthInteger & BitwiseCopyable>(_ bytes: UnsafeRawBufferPointer) -> T?
    {
        bytes.count == MemoryLayout<T>.size ? T(bigEndian: bytes.loadUnaligned(as: T.self)) : nil
    }

    /// Returns a scalar as text, without quotes, as Cassandra's cast to text does. Blobs start with 0x. Bytes that are
    /// not a value of the type give hexadecimal digits; the empty value gives an empty string.
    public func scalarText(_ bytes: UnsafeRawBufferPointer) -> String {
        if bytes.isEmpty, self != .blob { return "" }
        func integerText<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> String? {
            let value: T? = Self.integer(bytes)
            return value.map { String($0) }
        }
        let text: String?
        switch self {
        case .text, .ascii: text = String(decoding: bytes, as: UTF8.self)
        case .tinyint: text = integerText(Int8.self)
        case .smallint: text = integerText(Int16.self)
        case .int: text = integerText(Int32.self)
        case .bigint, .counter: text = integerText(Int64.self)
        case .boolean: text = bytes.count == 1 ? (bytes[0] == 0 ? "false" : "true") : nil
        case .double:
            let bits: UInt64? = Self.integer(bytes)
            text = bits.map { JavaNumber.text(Double(bitPattern: $0)) }
        case .float:
            let bits: UInt32? = Self.integer(bytes)
            text = bits.map { JavaNumber.text(Float(bitPattern: $0)) }
        case .varint: text = bytes.count <= Self.maximumVarintBytes ? BigInteger(native: bytes).description : nil
        case .decimal:
            text =
                bytes.count >= 4 && bytes.count - 4 <= Self.maximumVarintBytes
                ? BigDecimal(native: bytes).description : nil
        case .uuid, .timeuuid: text = UUID(bytes: Array(bytes)).map { $0.description }
        case .inet: text = InternetAddress.plainText(bytes)
        case .date:
            let raw: UInt32? = Self.integer(bytes)
            text = raw.map { DateTimeText.date($0) }
        case .time:
            let raw: Int64? = Self.integer(bytes)
            text = raw.map { DateTimeText.time($0) }
        case .timestamp:
            let raw: Int64? = Self.integer(bytes)
            text = raw.map { DateTimeText.isoTimestamp($0) }
        case .duration:
            do throws(ValueError) { text = try DurationValue(native: bytes).description } catch { text = nil }
        case .blob: text = "0x" + HexText.encode(bytes)
        case .frozen(let inner): text = inner.scalarText(bytes)
        case .list, .set, .map, .tuple: text = nil
        }
        return text ?? HexText.encode(bytes)
    }
}
