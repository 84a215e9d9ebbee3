import DataModel
import Primitives

/// Turns the text of a field into a value of its column, appended as the protocol carries it: length, then bytes.
///
/// The commonest types are read from the bytes by hand; the others by way of their text. A plain number, so that passing it costs nothing.
enum FieldConverter: Sendable {
    case int, bigint, smallint, tinyint, double, float, boolean, text, timestamp, date, uuid
    /// By way of `PlainValue`.
    case other

    init(_ type: CQLType) {
        switch type {
        case .int: self = .int
        case .bigint, .counter: self = .bigint
        case .smallint: self = .smallint
        case .tinyint: self = .tinyint
        case .double: self = .double
        case .float: self = .float
        case .boolean: self = .boolean
        case .text: self = .text
        case .timestamp: self = .timestamp
        case .date: self = .date
        case .uuid: self = .uuid
        default: self = .other
        }
    }

    /// Appends the value; false, and nothing appended, when `field` is none of the type (`complaint` then tells why) or of a type read as text.
    @inline(__always) func append(_ field: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
        switch self {
        case .text:
            out.writeBE(Int32(truncatingIfNeeded: field.count))
            out.write(field)
            return true
        case .int:
            guard let value = NumberText.integer(field), let narrow = Int32(exactly: value) else { return false }
            out.writeBE(Int32(4))
            out.writeBE(narrow)
            return true
        case .bigint:
            guard let value = NumberText.integer(field) else { return false }
            out.writeBE(Int32(8))
            out.writeBE(value)
            return true
        case .double:
            guard let value = NumberText.double(field) else { return false }
            out.writeBE(Int32(8))
            out.writeBE(value.bitPattern)
            return true
        default: return appendRare(field, into: &out)
        }
    }

    @inline(never) private func appendRare(_ field: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
        switch self {
        case .smallint:
            guard let value = NumberText.integer(field), let narrow = Int16(exactly: value) else { return false }
            out.writeBE(Int32(2))
            out.writeBE(narrow)
        case .tinyint:
            guard let value = NumberText.integer(field), let narrow = Int8(exactly: value) else { return false }
            out.writeBE(Int32(1))
            out.writeBE(narrow)
        case .float:
            // Rounded once, from the text: by way of Double it could be rounded twice.
            guard NumberText.double(field) != nil, let value = Float(String(decoding: field, as: UTF8.self)) else { return false }
            out.writeBE(Int32(4))
            out.writeBE(value.bitPattern)
        case .boolean:
            guard let value = NumberText.boolean(field) else { return false }
            out.writeBE(Int32(1))
            out.write(value ? UInt8(1) : 0)
        case .timestamp:
            guard let value = TimeText.timestamp(field) else { return false }
            out.writeBE(Int32(8))
            out.writeBE(value)
        case .date:
            guard let days = TimeText.date(field) else { return false }
            out.writeBE(Int32(4))
            out.writeBE(UInt32(truncatingIfNeeded: days + (1 << 31)))
        case .uuid:
            guard let value = UUID(String(decoding: field, as: UTF8.self)) else { return false }
            out.writeBE(Int32(16))
            out.writeBE(value.high)
            out.writeBE(value.low)
        case .other: return false
        case .int, .bigint, .double, .text: return append(field, into: &out)
        }
        return true
    }

    /// The same for any type, by way of its text.
    static func append(_ type: CQLType, _ field: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
        do throws(ValueError) {
            let bytes = try PlainValue.bytes(type, String(decoding: field, as: UTF8.self))
            out.writeBE(Int32(bytes.count))
            out.write(bytes)
            return true
        } catch {
            return false
        }
    }

    /// Why `field` is no value of `type`.
    static func complaint(_ type: CQLType, _ field: String) -> String {
        do throws(ValueError) {
            _ = try PlainValue.bytes(type, field)
            return "'\(field)' is no \(type)"
        } catch {
            return error.message
        }
    }
}

/// Values as files hold them, by way of their text.
enum PlainValue {
    /// As COPY writes them, collections also as JSON.
    static func bytes(_ type: CQLType, _ text: String) throws(ValueError) -> [UInt8] {
        switch type.unfrozen {
        case .list, .set, .map, .tuple:
            do throws(ValueError) {
                return try type.bytes(fromPlainText: text)
            } catch {
                // The first reason counts.
                guard let json = try? JSONValue(parsing: Array(text.utf8)), let bytes = try? type.bytes(fromJSON: json) else { throw error }
                return bytes
            }
        default: return try type.bytes(fromPlainText: text)
        }
    }
}
