extension CQLType: CustomStringConvertible {
    /// The type's name as in Cassandra's errors, `system_schema.columns` and DESCRIBE.
    public var description: String {
        switch self {
        case .ascii: "ascii"
        case .bigint: "bigint"
        case .blob: "blob"
        case .boolean: "boolean"
        case .counter: "counter"
        case .date: "date"
        case .decimal: "decimal"
        case .double: "double"
        case .duration: "duration"
        case .float: "float"
        case .inet: "inet"
        case .int: "int"
        case .smallint: "smallint"
        case .text: "text"
        case .time: "time"
        case .timestamp: "timestamp"
        case .timeuuid: "timeuuid"
        case .tinyint: "tinyint"
        case .uuid: "uuid"
        case .varint: "varint"
        case .list(let element): "list<\(element)>"
        case .set(let element): "set<\(element)>"
        case .map(let key, let value): "map<\(key), \(value)>"
        case .tuple(let fields): "frozen<tuple<\(fields.map(\.description).joined(separator: ", "))>>"
        case .frozen(let inner): if case .tuple = inner { inner.description } else { "frozen<\(inner)>" }
        }
    }

    /// Returns the type without parameters that has this CQL name (`varchar` is `text`).
    public static func simple(named name: String) -> CQLType? {
        switch name.lowercased() {
        case "ascii": .ascii
        case "bigint": .bigint
        case "blob": .blob
        case "boolean": .boolean
        case "counter": .counter
        case "date": .date
        case "decimal": .decimal
        case "double": .double
        case "duration": .duration
        case "float": .float
        case "inet": .inet
        case "int": .int
        case "smallint": .smallint
        case "text", "varchar": .text
        case "time": .time
        case "timestamp": .timestamp
        case "timeuuid": .timeuuid
        case "tinyint": .tinyint
        case "uuid": .uuid
        case "varint": .varint
        default: nil
        }
    }

    /// The maximum nesting depth; deeper types are refused, to bound recursion.
    public static let maximumDepth = 32

    /// Parses a type in the form of `description` or of CREATE TABLE; nil when the text is not a type.
    public static func parse(_ text: String) -> CQLType? {
        let bytes = Array(text.utf8)
        var offset = 0
        guard let type = parse(bytes, &offset, depth: 0) else { return nil }
        skipSpaces(bytes, &offset)
        return offset == bytes.count ? type : nil
    }

    private static func skipSpaces(_ bytes: [UInt8], _ offset: inout Int) {
        while offset < bytes.count, bytes[offset] == 0x20 || bytes[offset] == 0x09 || bytes[offset] == 0x0a {
            offset += 1
        }
    }

    private static func parse(_ bytes: [UInt8], _ offset: inout Int, depth: Int) -> CQLType? {
        guard depth < maximumDepth else { return nil }
        skipSpaces(bytes, &offset)
        let start = offset
        while offset < bytes.count, bytes[offset].isTypeNameByte { offset += 1 }
        let name = String(decoding: bytes[start..<offset], as: UTF8.self).lowercased()
        if let simple = simple(named: name) { return simple }
        skipSpaces(bytes, &offset)
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: "<") else { return nil }
        offset += 1
        var parameters: [CQLType] = []
        while true {
            guard let parameter = parse(bytes, &offset, depth: depth + 1) else { return nil }
            parameters.append(parameter)
            skipSpaces(bytes, &offset)
            guard offset < bytes.count else { return nil }
            offset += 1
            if bytes[offset - 1] == UInt8(ascii: ">") { break }
            guard bytes[offset - 1] == UInt8(ascii: ",") else { return nil }
        }
        switch (name, parameters.count) {
        case ("list", 1): return .list(parameters[0])
        case ("set", 1): return .set(parameters[0])
        case ("map", 2): return .map(parameters[0], parameters[1])
        case ("tuple", _): return .tuple(parameters.map(\.asFrozen))
        case ("frozen", 1): return parameters[0].asFrozen
        default: return nil
        }
    }

    /// The type with all collections frozen, at every depth.
    public var asFrozen: CQLType {
        switch self {
        case .frozen(let inner): inner.asFrozen
        case .list(let element): .frozen(.list(element.asFrozen))
        case .set(let element): .frozen(.set(element.asFrozen))
        case .map(let key, let value): .frozen(.map(key.asFrozen, value.asFrozen))
        case .tuple(let fields): .tuple(fields.map(\.asFrozen))
        default: self
        }
    }
}

extension UInt8 {
    fileprivate var isTypeNameByte: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
        default: false
        }
    }
}
