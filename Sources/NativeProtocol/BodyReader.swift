import DataModel
import Primitives

/// Reads the notations of native_protocol_v5.spec, section 3, from a frame's body. Its errors name the message and the
/// offset.
struct BodyReader {
    private var reader: ByteReader
    private let body: UnsafeRawBufferPointer
    private let opcode: Opcode

    init(_ body: UnsafeRawBufferPointer, _ opcode: Opcode) {
        self.body = body
        reader = ByteReader(body)
        self.opcode = opcode
    }

    var offset: Int { reader.offset }
    var remaining: Int { reader.remaining }

    private func malformed(_ error: ByteError) -> ServerError {
        switch error {
        case .truncated(let offset, let needed, let available):
            let wanted = needed < 0 ? "a negative length (\(needed))" : "\(needed) bytes"
            return refusal("\(wanted) expected at offset \(offset) of the body, \(available) left")
        case .malformedVarint(let offset): return refusal("malformed varint at offset \(offset) of the body")
        case .unexpected(let offset, let expected):
            return refusal("\(expected) expected at offset \(offset) of the body")
        }
    }

    /// Returns a copy of the bytes at `range`, which must lie before the cursor.
    func copy(_ range: Range<Int>) -> [UInt8] { [UInt8](body[range]) }

    /// Returns the error for an invalid body.
    func refusal(_ reason: String) -> ServerError {
        ServerError(.protocolError, "Malformed \(opcode.name) message: \(reason)")
    }

    @inline(__always) mutating func byte() throws(ServerError) -> UInt8 {
        do { return try reader.readU8() } catch { throw malformed(error) }
    }

    @inline(__always) mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self)
        throws(ServerError) -> T
    {
        do { return try reader.readBE(type) } catch { throw malformed(error) }
    }

    @inline(__always) mutating func slice(_ length: Int) throws(ServerError) -> UnsafeRawBufferPointer {
        do { return try reader.readSlice(length) } catch { throw malformed(error) }
    }

    @inline(__always) mutating func skip(_ length: Int) throws(ServerError) { _ = try slice(length) }

    mutating func uuid() throws(ServerError) -> UUID { UUID(high: try integer(), low: try integer()) }

    /// Reads a [string]; refuses bytes that are not UTF-8.
    mutating func string() throws(ServerError) -> String {
        let length = Int(try integer(UInt16.self))
        guard let text = String(validating: try slice(length), as: UTF8.self) else {
            throw refusal("a string is not valid UTF-8")
        }
        return text
    }

    mutating func stringList() throws(ServerError) -> [String] {
        let count = Int(try integer(UInt16.self))
        var list: [String] = []
        for _ in 0..<count { list.append(try string()) }
        return list
    }

    /// Reads [short bytes] and returns their range.
    mutating func shortBytesRange() throws(ServerError) -> Range<Int> {
        let length = Int(try integer(UInt16.self))
        let start = offset
        try skip(length)
        return start..<offset
    }

    mutating func shortBytes() throws(ServerError) -> [UInt8] {
        let length = Int(try integer(UInt16.self))
        return [UInt8](try slice(length))
    }

    /// Reads a [long string] and returns its range.
    mutating func longStringRange() throws(ServerError) -> Range<Int> {
        let length = Int(try integer(Int32.self))
        let start = offset
        try skip(length)
        return start..<offset
    }

    /// Reads [bytes]; nil when null.
    mutating func bytes() throws(ServerError) -> [UInt8]? {
        let length = Int(try integer(Int32.self))
        return length < 0 ? nil : [UInt8](try slice(length))
    }

    mutating func skipBytesMap() throws(ServerError) {
        let count = Int(try integer(UInt16.self))
        for _ in 0..<count {
            _ = try shortBytesRange()
            let length = Int(try integer(Int32.self))
            if length > 0 { try skip(length) }
        }
    }

    mutating func consistency() throws(ServerError) -> Consistency {
        let raw = try integer(UInt16.self)
        guard let level = Consistency(rawValue: raw) else { throw refusal("unknown consistency level \(raw)") }
        return level
    }

    /// Reads a [value] and appends it to `values`.
    mutating func value(into values: inout ValueList) throws(ServerError) {
        let length = try integer(Int32.self)
        switch length {
        case 0...: values.append(try slice(Int(length)))
        case -1: values.appendNull()
        case -2: values.appendUnset()
        default: throw refusal("value length \(length); the only negative lengths are -1 (null) and -2 (not set)")
        }
    }
}
