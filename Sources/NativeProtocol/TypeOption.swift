import DataModel
import Primitives

/// The [option] that describes a type in metadata (native_protocol_v5.spec, 4.2.5.2).
enum TypeOption {
    /// Part of the protocol; do not change.
    static let custom: UInt16 = 0x00
    static let list: UInt16 = 0x20
    static let map: UInt16 = 0x21
    static let set: UInt16 = 0x22
    static let udt: UInt16 = 0x30
    static let tuple: UInt16 = 0x31
    /// The maximum nesting depth of decoded types.
    static let maxDepth = 64

    /// The option id of a type without parameters; nil for other types.
    static func simple(_ type: CQLType) -> UInt16? {
        switch type {
        case .ascii: 0x01
        case .bigint: 0x02
        case .blob: 0x03
        case .boolean: 0x04
        case .counter: 0x05
        case .decimal: 0x06
        case .double: 0x07
        case .float: 0x08
        case .int: 0x09
        case .timestamp: 0x0B
        case .uuid: 0x0C
        case .text: 0x0D
        case .varint: 0x0E
        case .timeuuid: 0x0F
        case .inet: 0x10
        case .date: 0x11
        case .time: 0x12
        case .smallint: 0x13
        case .tinyint: 0x14
        case .duration: 0x15
        case .list, .set, .map, .tuple, .frozen: nil
        }
    }

    private static let byNumber: [UInt16: CQLType] = {
        let types: [CQLType] = [
            .ascii, .bigint, .blob, .boolean, .counter, .decimal, .double, .float, .int, .timestamp, .uuid, .text,
            .varint, .timeuuid,
            .inet, .date, .time, .smallint, .tinyint, .duration,
        ]
        var table: [UInt16: CQLType] = [:]
        for type in types { if let number = simple(type) { table[number] = type } }
        table[0x0A] = .text
        return table
    }()

    static func write(_ type: CQLType, into out: inout ByteWriter) {
        if let number = simple(type) { return out.writeBE(number) }
        switch type {
        case .list(let element):
            out.writeBE(list)
            write(element, into: &out)
        case .set(let element):
            out.writeBE(set)
            write(element, into: &out)
        case .map(let key, let value):
            out.writeBE(map)
            write(key, into: &out)
            write(value, into: &out)
        case .tuple(let elements):
            out.writeBE(tuple)
            out.writeBE(UInt16(clamping: elements.count))
            for element in elements { write(element, into: &out) }
        case .frozen(let inner): write(inner, into: &out)
        default: preconditionFailure("\(type) has no option")
        }
    }

    /// Decodes a type. A user-defined type decodes as the tuple of its fields, a custom type as blob.
    static func read(_ reader: inout BodyReader, depth: Int = 0) throws(ServerError) -> CQLType {
        guard depth < maxDepth else { throw reader.refusal("types nested deeper than \(maxDepth)") }
        let number = try reader.integer(UInt16.self)
        switch number {
        case custom:
            _ = try reader.string()
            return .blob
        case list: return .list(try read(&reader, depth: depth + 1))
        case set: return .set(try read(&reader, depth: depth + 1))
        case map:
            let key = try read(&reader, depth: depth + 1)
            return .map(key, try read(&reader, depth: depth + 1))
        case udt:
            _ = try reader.string()
            _ = try reader.string()
            var fields: [CQLType] = []
            for _ in 0..<Int(try reader.integer(UInt16.self)) {
                _ = try reader.string()
                fields.append(try read(&reader, depth: depth + 1))
            }
            return .tuple(fields)
        case tuple:
            var elements: [CQLType] = []
            for _ in 0..<Int(try reader.integer(UInt16.self)) { elements.append(try read(&reader, depth: depth + 1)) }
            return .tuple(elements)
        default:
            guard let type = byNumber[number] else {
                throw reader.refusal("unknown type 0x" + String(number, radix: 16))
            }
            return type
        }
    }
}
