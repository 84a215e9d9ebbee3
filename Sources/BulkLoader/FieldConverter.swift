import DataModel
import Primitives

/// Converts the text of a field into a value of its column and appends it as the protocol encodes it: length, then
/// bytes.
///
/// The most frequent types are parsed directly from the bytes, the others from a string. An enum without payload, so
/// that copying it is free.
enum FieldConverter: Sendable {
    case int, bigint, smallint, tinyint, double, float, boolean, text, timestamp, date, uuid
    /// Converted through `PlainValue`.
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

    /// Appends the value. Returns false and appends nothing when `field` is not a value of the type (see `complaint`),
    /// or when the type is `other`.
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
            // Parsed directly as Float: going through Double could round twice.
            guard NumberText.double(field) != nil, let value = Float(String(decoding: field, as: UTF8.self)) else {
                return false
            }
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

    /// Appends a value of any type, parsed from its text; returns false when it is invalid.
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

    /// Returns why `field` is not a value of `type`.
    static func complaint(_ type: CQLType, _ field: String) -> String {
        do throws(ValueError) {
            _ = try PlainValue.bytes(type, field)
            return "'\(field)' is not a valid \(type)"
        } catch {
            return error.message
        }
    }
}

/// Parses values as text files hold them.
enum PlainValue {
    /// Returns the value of text in COPY's format; collections may also be JSON.
    static func bytes(_ type: CQLType, _ text: String) throws(ValueError) -> [UInt8] {
        switch type.unfrozen {
        case .list, .set, .map, .tuple:
            do throws(ValueError) {
                return try type.bytes(fromPlainText: text)
            } catch {
                // Report the error of the first format.
                guard let json = try? JSONValue(parsing: Array(text.utf8)), let bytes = try? type.bytes(fromJSON: json)
                else { throw error }
                return bytes
            }
        default: return try type.bytes(fromPlainText: text)
        }
    }
}
