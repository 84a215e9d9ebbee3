import Primitives

/// Converts values between native-protocol bytes and byte-comparable form, whose memcmp order is each type's own order.
///
/// | type | payload |
/// | --- | --- |
/// | tinyint smallint int bigint timestamp time | big-endian, sign bit flipped |
/// | boolean, date | unchanged |
/// | float double | big-endian; negative inverted, positive with sign bit flipped; all NaN are one, greater than all |
/// | ascii text blob inet | bytes with 00 written 00 FF, ended by 00 00 |
/// | uuid | version, then time for version 1, then the rest |
/// | timeuuid | time, then the low half as signed bytes |
/// | varint | length and sign in one header, then the minimal two's complement |
/// | decimal | sign, exponent, decimal digits |
/// | frozen list, set, map, tuple | components, ended by 00 |
///
/// The form is part of the file format; do not change.
public enum KeyEncoding {
    static let emptyMarker: UInt8 = 0x3f
    static let valueMarker: UInt8 = 0x40
    static let nullMarker: UInt8 = 0x3e

    // MARK: Partition

    /// Begins a partition key: reserves the bytes for token and length.
    @inline(__always) public static func beginPartition(into key: inout ByteWriter) {
        key.removeAll()
        key.writeZeros(KeyView.partitionHeaderBytes)
    }

    /// Appends a component of the partition key.
    @inline(__always) public static func addPartitionComponent(
        _ value: UnsafeRawBufferPointer, isOnly: Bool, into key: inout ByteWriter
    ) {
        if isOnly {
            key.write(value)
        } else {
            key.writeBE(UInt16(truncatingIfNeeded: value.count))
            key.write(value)
            key.write(0)
        }
    }

    /// Completes the partition key: fills in token and length.
    /// - Returns: the token.
    /// - Throws: `KeyError.tooLong` beyond 65,535 bytes.
    @inline(__always) @discardableResult public static func endPartition(of key: inout ByteWriter) throws(KeyError)
        -> Int64
    {
        let header = KeyView.partitionHeaderBytes
        let length = key.count - header
        guard length <= 65_535 else { throw .tooLong(byteCount: length) }
        let token = Murmur3.token(UnsafeRawBufferPointer(rebasing: key.bytes[header...]))
        key.patchBE(UInt64(bitPattern: token) ^ (1 << 63), at: 0)
        key.patchBE(UInt16(length), at: 8)
        return token
    }

    /// Returns the byte ranges of the components of a serialized partition key.
    /// - Throws: `KeyError.damaged` when it does not have `count` components.
    public static func partitionComponents(_ serialized: UnsafeRawBufferPointer, count: Int) throws(KeyError) -> [Range<
        Int
    >] {
        if count == 1 { return [0..<serialized.count] }
        var ranges: [Range<Int>] = []
        var offset = 0
        for _ in 0..<count {
            guard serialized.count - offset >= 2 else { throw .damaged(offset: offset) }
            let length = Int(serialized.loadUnaligned(fromByteOffset: offset, as: UInt16.self).bigEndian)
            guard serialized.count - offset - 2 >= length + 1 else { throw .damaged(offset: offset) }
            ranges.append(offset + 2..<offset + 2 + length)
            offset += length + 3
        }
        guard offset == serialized.count else { throw .damaged(offset: offset) }
        return ranges
    }

    // MARK: Clustering

    @inline(__always) public static func beginRow(into key: inout ByteWriter) { key.write(KeyView.rowKind) }
    @inline(__always) public static func beginStatic(into key: inout ByteWriter) { key.write(KeyView.staticKind) }

    /// Appends a clustering component.
    /// - Throws: `KeyError` when the bytes are not a value of the type.
    @inline(__always) public static func addClusteringComponent(
        _ value: UnsafeRawBufferPointer, type: CQLType, descending: Bool, into key: inout ByteWriter
    ) throws(KeyError) {
        let start = key.count
        if value.isEmpty {
            key.write(emptyMarker)
        } else {
            key.write(valueMarker)
            try encode(value, type: type, into: &key)
        }
        if descending { invert(from: start, in: &key) }
    }

    /// Decodes the next clustering component of a key and appends its native-protocol bytes to `out`.
    /// - Parameter offset: the offset of the component in `bytes`; advanced past it.
    public static func nextClusteringComponent(
        _ bytes: UnsafeRawBufferPointer, at offset: inout Int, type: CQLType, descending: Bool,
        into out: inout ByteWriter
    ) throws(KeyError) {
        var source = KeySource(bytes: bytes, offset: offset, mask: descending ? 0xff : 0)
        switch try source.byte() {
        case emptyMarker: break
        case valueMarker: try decode(&source, type: type, into: &out)
        default: throw .damaged(offset: offset)
        }
        offset = source.offset
    }

    /// Encodes a single value, as the path of a collection's cell.
    public static func encodePath(_ value: UnsafeRawBufferPointer, type: CQLType, into out: inout ByteWriter)
        throws(KeyError)
    {
        try addClusteringComponent(value, type: type, descending: false, into: &out)
    }

    /// Decodes what `encodePath` encoded.
    public static func decodePath(_ path: UnsafeRawBufferPointer, type: CQLType, into out: inout ByteWriter)
        throws(KeyError)
    {
        var offset = 0
        try nextClusteringComponent(path, at: &offset, type: type, descending: false, into: &out)
    }

    static func invert(from start: Int, in key: inout ByteWriter) {
        let length = key.count - start
        key.truncate(to: start)
        key.append(length) { room in
            for index in 0..<length { room[index] = ~room[index] }
            return length
        }
    }

    // MARK: Values

    static func encode(_ value: UnsafeRawBufferPointer, type: CQLType, into key: inout ByteWriter) throws(KeyError) {
        func need(_ count: Int) throws(KeyError) {
            guard value.count == count else { throw .malformedValue(type: type, byteCount: value.count) }
        }
        switch type {
        case .int:
            try need(4)
            key.writeBE(value.loadUnaligned(as: UInt32.self).bigEndian ^ (1 << 31))
        case .bigint, .timestamp, .time:
            try need(8)
            key.writeBE(value.loadUnaligned(as: UInt64.self).bigEndian ^ (1 << 63))
        case .text, .ascii, .blob, .inet:
            escape(value, into: &key)
        case .smallint:
            try need(2)
            key.writeBE(value.loadUnaligned(as: UInt16.self).bigEndian ^ (1 << 15))
        case .tinyint:
            try need(1)
            key.write(value[0] ^ 0x80)
        case .boolean:
            try need(1)
            key.write(value[0] == 0 ? 0 : 1)
        case .date:
            try need(4)
            key.write(value)
        case .float:
            try need(4)
            var bits = value.loadUnaligned(as: UInt32.self).bigEndian
            if bits & 0x7fff_ffff > 0x7f80_0000 { bits = 0x7fc0_0000 }
            key.writeBE(bits >> 31 == 1 ? ~bits : bits ^ (1 << 31))
        case .double:
            try need(8)
            var bits = value.loadUnaligned(as: UInt64.self).bigEndian
            if bits & 0x7fff_ffff_ffff_ffff > 0x7ff0_0000_0000_0000 { bits = 0x7ff8_0000_0000_0000 }
            key.writeBE(bits >> 63 == 1 ? ~bits : bits ^ (1 << 63))
        case .uuid, .timeuuid:
            try need(16)
            let high = value.loadUnaligned(as: UInt64.self).bigEndian
            let low = value.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
            key.writeBE(orderedHigh(high, timeBased: type == .timeuuid))
            key.writeBE(type == .timeuuid ? low ^ 0x8080_8080_8080_8080 : low)
        case .varint: encodeVarint(value, into: &key)
        case .decimal: try DecimalKey.encode(value, into: &key)
        case .frozen(let inner): try encode(value, type: inner, into: &key)
        case .list(let element), .set(let element): try encodeElements(value, [element], type: type, into: &key)
        case .map(let k, let v): try encodeElements(value, [k, v], type: type, into: &key)
        case .tuple(let types): try encodeTuple(value, types, type: type, into: &key)
        case .duration, .counter: throw .unorderedType(type)
        }
    }

    /// The high half of a UUID in comparison order: the version first; then, for a time-based UUID, the time, most
    /// significant bits first.
    private static func orderedHigh(_ high: UInt64, timeBased: Bool) -> UInt64 {
        let version = high >> 12 & 0xf
        if timeBased || version == 1 {
            return version << 60 | (high & 0xfff) << 48 | (high >> 16 & 0xffff) << 32 | high >> 32
        }
        return version << 60 | (high >> 16) << 12 | high & 0xfff
    }

    private static func plainHigh(_ ordered: UInt64, timeBased: Bool) -> UInt64 {
        let version = ordered >> 60
        if timeBased || version == 1 {
            return (ordered & 0xffff_ffff) << 32 | (ordered >> 32 & 0xffff) << 16 | version << 12
                | (ordered >> 48 & 0xfff)
        }
        return (ordered >> 12 & 0xffff_ffff_ffff) << 16 | version << 12 | ordered & 0xfff
    }

    @inline(__always) private static func escape(_ value: UnsafeRawBufferPointer, into key: inout ByteWriter) {
        var from = 0
        for index in 0..<value.count where value[index] == 0 {
            key.write(UnsafeRawBufferPointer(rebasing: value[from...index]))
            key.write(0xff)
            from = index + 1
        }
        key.write(UnsafeRawBufferPointer(rebasing: value[from...]))
        key.writeBE(UInt16(0))
    }

    private static func encodeVarint(_ value: UnsafeRawBufferPointer, into key: inout ByteWriter) {
        var from = 0
        while value.count - from > 1
            && ((value[from] == 0 && value[from + 1] < 0x80) || (value[from] == 0xff && value[from + 1] >= 0x80))
        {
            from += 1
        }
        let minimal = UnsafeRawBufferPointer(rebasing: value[from...])
        let negative = minimal[0] >= 0x80
        let length = minimal.count
        if length <= 0x70 {
            key.write(negative ? UInt8(0x80 - length) : UInt8(0x7f + length))
        } else {
            key.write(negative ? 0x00 : 0xff)
            key.writeBE(negative ? ~UInt32(length) : UInt32(length))
        }
        key.write(minimal)
    }

    private static func encodeElements(
        _ value: UnsafeRawBufferPointer, _ types: [CQLType], type: CQLType, into key: inout ByteWriter
    ) throws(KeyError) {
        var reader = ByteReader(value)
        do {
            let count = Int(try reader.readBE(Int32.self))
            guard count >= 0 else { throw KeyError.malformedValue(type: type, byteCount: value.count) }
            for _ in 0..<count {
                for element in types {
                    let length = Int(try reader.readBE(Int32.self))
                    try addClusteringComponent(
                        try reader.readSlice(max(0, length)), type: element, descending: false, into: &key)
                }
            }
        } catch let error as KeyError {
            throw error
        } catch {
            throw .malformedValue(type: type, byteCount: value.count)
        }
        key.write(0)
    }

    private static func encodeTuple(
        _ value: UnsafeRawBufferPointer, _ types: [CQLType], type: CQLType, into key: inout ByteWriter
    ) throws(KeyError) {
        var reader = ByteReader(value)
        do {
            for element in types {
                guard !reader.isAtEnd else { break }
                let length = Int(try reader.readBE(Int32.self))
                if length < 0 {
                    key.write(nullMarker)
                } else {
                    try addClusteringComponent(
                        try reader.readSlice(length), type: element, descending: false, into: &key)
                }
            }
        } catch let error as KeyError {
            throw error
        } catch {
            throw .malformedValue(type: type, byteCount: value.count)
        }
        key.write(0)
    }

    static func decode(_ source: inout KeySource, type: CQLType, into out: inout ByteWriter) throws(KeyError) {
        switch type {
        case .int: out.writeBE(try source.fixed(UInt32.self) ^ (1 << 31))
        case .bigint, .timestamp, .time: out.writeBE(try source.fixed(UInt64.self) ^ (1 << 63))
        case .text, .ascii, .blob, .inet: try source.unescape(into: &out)
        case .smallint: out.writeBE(try source.fixed(UInt16.self) ^ (1 << 15))
        case .tinyint: out.write(try source.byte() ^ 0x80)
        case .boolean:
            let value = try source.byte()
            guard value <= 1 else { throw .damaged(offset: source.offset - 1) }
            out.write(value)
        case .date: out.writeBE(try source.fixed(UInt32.self))
        case .float:
            let key = try source.fixed(UInt32.self)
            let bits = key >> 31 == 1 ? key ^ (1 << 31) : ~key
            guard bits & 0x7fff_ffff <= 0x7f80_0000 || bits == 0x7fc0_0000 else {
                throw .damaged(offset: source.offset)
            }
            out.writeBE(bits)
        case .double:
            let key = try source.fixed(UInt64.self)
            let bits = key >> 63 == 1 ? key ^ (1 << 63) : ~key
            guard bits & 0x7fff_ffff_ffff_ffff <= 0x7ff0_0000_0000_0000 || bits == 0x7ff8_0000_0000_0000 else {
                throw .damaged(offset: source.offset)
            }
            out.writeBE(bits)
        case .uuid, .timeuuid:
            out.writeBE(plainHigh(try source.fixed(UInt64.self), timeBased: type == .timeuuid))
            let low = try source.fixed(UInt64.self)
            out.writeBE(type == .timeuuid ? low ^ 0x8080_8080_8080_8080 : low)
        case .varint: try decodeVarint(&source, into: &out)
        case .decimal: try DecimalKey.decode(&source, into: &out)
        case .frozen(let inner): try decode(&source, type: inner, into: &out)
        case .list(let element), .set(let element): try decodeElements(&source, [element], isTuple: false, into: &out)
        case .map(let k, let v): try decodeElements(&source, [k, v], isTuple: false, into: &out)
        case .tuple(let types): try decodeElements(&source, types, isTuple: true, into: &out)
        case .duration, .counter: throw .unorderedType(type)
        }
    }

    /// Decodes a varint in the only form that `encodeVarint` writes.
    private static func decodeVarint(_ source: inout KeySource, into out: inout ByteWriter) throws(KeyError) {
        let header = try source.byte()
        let length: Int
        switch header {
        case 0x00: length = Int(~(try source.fixed(UInt32.self)))
        case 0xff: length = Int(try source.fixed(UInt32.self))
        case ..<0x80: length = 0x80 - Int(header)
        default: length = Int(header) - 0x7f
        }
        let isLong = header == 0x00 || header == 0xff
        guard length > 0, isLong == (length > 0x70) else { throw .damaged(offset: source.offset) }
        let start = out.count
        try source.copy(length, into: &out)
        let first = out.bytes[start]
        let isNegative = first >= 0x80
        guard isNegative == (header < 0x80) else { throw .damaged(offset: source.offset) }
        if length > 1, first == 0x00 || first == 0xff {
            guard isNegative != (out.bytes[start + 1] >= 0x80) else { throw .damaged(offset: source.offset) }
        }
    }

    private static func decodeElements(
        _ source: inout KeySource, _ types: [CQLType], isTuple: Bool, into out: inout ByteWriter
    ) throws(KeyError) {
        let countAt = out.count
        if !isTuple { out.writeBE(Int32(0)) }
        var count = 0
        while true {
            let marker = try source.byte()
            if marker == 0 { break }
            guard isTuple ? count < types.count : marker != nullMarker else { throw .damaged(offset: source.offset) }
            let lengthAt = out.count
            out.writeBE(Int32(marker == nullMarker ? -1 : 0))
            if marker == valueMarker {
                try decode(&source, type: types[count % types.count], into: &out)
                out.patchBE(Int32(out.count - lengthAt - 4), at: lengthAt)
            } else if marker != nullMarker && marker != emptyMarker {
                throw .damaged(offset: source.offset)
            }
            count += 1
        }
        // A tuple without fields is the empty value, which has a marker of its own.
        guard isTuple ? count > 0 : count % types.count == 0 else { throw .damaged(offset: source.offset) }
        if isTuple { return }
        out.patchBE(Int32(count / types.count), at: countAt)
    }
}

/// Reads encoded bytes; `mask` undoes the inversion of a descending column.
struct KeySource {
    let bytes: UnsafeRawBufferPointer
    var offset: Int
    let mask: UInt8

    mutating func byte() throws(KeyError) -> UInt8 {
        guard offset < bytes.count else { throw .damaged(offset: offset) }
        defer { offset += 1 }
        return bytes[offset] ^ mask
    }

    mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(KeyError) -> T {
        guard bytes.count - offset >= MemoryLayout<T>.size else { throw .damaged(offset: offset) }
        defer { offset += MemoryLayout<T>.size }
        let value = T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        return mask == 0 ? value : ~value
    }

    mutating func copy(_ length: Int, into out: inout ByteWriter) throws(KeyError) {
        guard length >= 0, bytes.count - offset >= length else { throw .damaged(offset: offset) }
        if mask == 0 {
            out.write(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))
        } else {
            for index in offset..<offset + length { out.write(~bytes[index]) }
        }
        offset += length
    }

    mutating func unescape(into out: inout ByteWriter) throws(KeyError) {
        while true {
            let value = try byte()
            if value != 0 {
                out.write(value)
                continue
            }
            switch try byte() {
            case 0x00: return
            case 0xff: out.write(0)
            default: throw .damaged(offset: offset)
            }
        }
    }
}
