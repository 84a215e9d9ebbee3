import Primitives

extension CQLType {
    /// Appends the value as `toJson` of Cassandra writes it.
    /// - Parameter bytes: nil, and bytes that are not a value of the type, are written as `null`.
    public func appendJSON(_ bytes: UnsafeRawBufferPointer?, to writer: inout ByteWriter) {
        guard let bytes else {
            writer.write("null")
            return
        }
        switch self {
        case .text, .ascii: Self.appendJSONString(bytes, to: &writer)
        case .frozen(let inner): inner.appendJSON(bytes, to: &writer)
        case .list(let element), .set(let element): Self.appendJSONArray(bytes, element, to: &writer)
        case .map(let key, let value): Self.appendJSONMap(bytes, key, value, to: &writer)
        case .tuple(let fields):
            var reader = TupleReader(bytes)
            writer.write("[")
            for (index, field) in fields.enumerated() {
                if index > 0 { writer.write(", ") }
                field.appendJSON((try? reader.next()) ?? nil, to: &writer)  // write a damaged field as null
            }
            writer.write("]")
        case .double, .float:
            let text = scalarText(bytes)
            if bytes.isEmpty {
                writer.write("\"\"")
            } else {
                writer.write(text == "NaN" || text.hasSuffix("Infinity") ? "null" : text)
            }
        case .tinyint, .smallint, .int, .bigint, .counter, .varint, .decimal, .boolean:
            writer.write(bytes.isEmpty ? "\"\"" : scalarText(bytes))
        case .timestamp:
            writer.write("\"")
            if let value: Int64 = Self.integer(bytes) { writer.write(DateTimeText.jsonTimestamp(value)) }
            writer.write("\"")
        default:
            writer.write("\"")
            writer.write(scalarText(bytes))
            writer.write("\"")
        }
    }

    private static func appendJSONArray(
        _ bytes: UnsafeRawBufferPointer, _ element: CQLType, to writer: inout ByteWriter
    ) {
        writer.write("[")
        forEachElement(bytes) { index, value in
            if index > 0 { writer.write(", ") }
            element.appendJSON(value, to: &writer)
        }
        writer.write("]")
    }

    private static func appendJSONMap(
        _ bytes: UnsafeRawBufferPointer, _ key: CQLType, _ value: CQLType, to writer: inout ByteWriter
    ) {
        writer.write("{")
        forEachElement(bytes, valuesPerElement: 2) { index, entry in
            if index % 2 == 1 {
                writer.write(": ")
                value.appendJSON(entry, to: &writer)
                return
            }
            if index > 0 { writer.write(", ") }
            let start = writer.count
            key.appendJSON(entry, to: &writer)
            // JSON object names must be strings: put the text of any other value in quotes.
            if writer.bytes[start] != UInt8(ascii: "\"") {
                let text = [UInt8](writer.bytes[start...])
                writer.truncate(to: start)
                text.withUnsafeBytes { appendJSONString($0, to: &writer) }
            }
        }
        writer.write("}")
    }

    /// Visits the values of a collection; stops where the bytes do not parse.
    static func forEachElement(
        _ bytes: UnsafeRawBufferPointer, valuesPerElement: Int = 1, _ body: (Int, UnsafeRawBufferPointer) -> Void
    ) {
        do throws(ValueError) {
            var reader = try CollectionReader(bytes, name: "collection", valuesPerElement: valuesPerElement)
            var index = 0
            while let value = try reader.next() {
                body(index, value)
                index += 1
            }
        } catch { return }
    }

    /// Appends UTF-8 text as a JSON string, in quotes and with escapes.
    public static func appendJSONString(_ text: UnsafeRawBufferPointer, to writer: inout ByteWriter) {
        writer.write(UInt8(ascii: "\""))
        var start = 0
        for index in 0..<text.count {
            let byte = text[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            writer.write(UnsafeRawBufferPointer(rebasing: text[start..<index]))
            start = index + 1
            switch byte {
            case UInt8(ascii: "\""): writer.write("\\\"")
            case UInt8(ascii: "\\"): writer.write("\\\\")
            case 0x08: writer.write("\\b")
            case 0x09: writer.write("\\t")
            case 0x0a: writer.write("\\n")
            case 0x0c: writer.write("\\f")
            case 0x0d: writer.write("\\r")
            default: writer.write("\\u00\(HexText.encode([byte]))")
            }
        }
        writer.write(UnsafeRawBufferPointer(rebasing: text[start...]))
        writer.write(UInt8(ascii: "\""))
    }

    // MARK: From JSON

    /// Converts a JSON value to native bytes by the rules of `fromJson`; nil for null.
    public func bytes(fromJSON value: JSONValue) throws(ValueError) -> [UInt8]? {
        if case .null = value { return nil }
        func expected(_ what: String) -> ValueError {
            .invalid("Expected \(what), but got a \(value.className): \(value.shown)")
        }
        switch self {
        case .frozen(let inner): return try inner.bytes(fromJSON: value)
        case .text:
            guard case .string(let text) = value else { throw expected("a UTF-8 string") }
            return Array(text.utf8)
        case .ascii:
            guard case .string(let text) = value else { throw expected("an ascii string") }
            return try bytes(fromScalarText: text)
        case .tinyint, .smallint, .int, .bigint, .counter:
            switch value {
            case .number(let text):
                do throws(ValueError) { return try bytes(fromScalarText: text) } catch {
                    throw expected("\(article) \(self) value")
                }
            case .string(let text): return try bytes(fromScalarText: text)
            default: throw expected("\(article) \(self) value")
            }
        case .varint:
            switch value {
            case .number(let text), .string(let text):
                guard let number = BigInteger(text) else {
                    throw .invalid("Value '\(text)' is not a valid representation of a varint value")
                }
                return number.native
            default: throw expected("a varint value")
            }
        case .double, .float, .decimal:
            switch value {
            case .number(let text), .string(let text): return try bytes(fromScalarText: text)
            default: throw expected("\(article) \(self) value")
            }
        case .boolean:
            switch value {
            case .boolean(let flag): return [flag ? 1 : 0]
            case .string(let text): return try bytes(fromScalarText: text)
            default: throw expected("a boolean value")
            }
        case .blob:
            guard case .string(let text) = value else { throw expected("a hex string") }
            guard text.hasPrefix("0x") else {
                throw .invalid("String representation of blob is missing 0x prefix: \(text)")
            }
            return try bytes(fromScalarText: text)
        case .timestamp:
            switch value {
            case .number(let text) where Int64(text) != nil, .string(let text): return try bytes(fromScalarText: text)
            default: throw expected("a long or a datestring representation of a timestamp value")
            }
        case .date, .time, .duration, .inet, .uuid, .timeuuid:
            guard case .string(let text) = value else {
                throw expected("a string representation of \(article) \(self) value")
            }
            return try bytes(fromScalarText: text)
        case .list(let element):
            guard let elements = value.elements else { throw expected("a list") }
            return try CollectionBuilder.list(try Self.elements(elements, element, "list"))
        case .set(let element):
            guard let elements = value.elements else { throw expected("a list (representing a set)") }
            return try CollectionBuilder.set(try Self.elements(elements, element, "set"), of: element)
        case .map(let key, let valueType): return try Self.map(value, key, valueType)
        case .tuple(let fields):
            guard let elements = value.elements else { throw expected("a list representation of a tuple") }
            guard elements.count <= fields.count else {
                throw .invalid("Tuple contains extra items (expected \(fields.count)): \(value.shown)")
            }
            guard elements.count == fields.count else {
                throw .invalid("Tuple is missing items (expected \(fields.count)): \(value.shown)")
            }
            var parts: [[UInt8]?] = []
            for (field, element) in zip(fields, elements) { parts.append(try field.bytes(fromJSON: element)) }
            return CollectionBuilder.tuple(parts)
        }
    }

    private var article: String {
        switch self {
        case .int, .inet: "an"
        default: "a"
        }
    }

    private static func elements(_ values: [JSONValue], _ type: CQLType, _ name: String) throws(ValueError) -> [[UInt8]]
    {
        var elements: [[UInt8]] = []
        for value in values {
            guard let bytes = try type.bytes(fromJSON: value) else { throw .invalid("Invalid null element in \(name)") }
            elements.append(bytes)
        }
        return elements
    }

    private static func map(_ value: JSONValue, _ key: CQLType, _ valueType: CQLType) throws(ValueError) -> [UInt8] {
        var document = value
        if case .string(let text) = value { document = try JSONValue(parsing: text.utf8) }
        guard case .object(let members) = document else {
            throw .invalid("Expected a map, but got a \(value.className): \(value.shown)")
        }
        var entries: [(key: [UInt8], value: [UInt8])] = []
        for (name, member) in members {
            // Keys of non-scalar types are JSON inside the name string.
            let keyValue: JSONValue =
                key.isCollection || key.isTuple ? try JSONValue(parsing: name.utf8) : .string(name)
            guard let keyBytes = try key.bytes(fromJSON: keyValue) else { throw .invalid("Invalid null key in map") }
            guard let valueBytes = try valueType.bytes(fromJSON: member) else {
                throw .invalid("Invalid null value in map")
            }
            entries.append((keyBytes, valueBytes))
        }
        return try CollectionBuilder.map(entries, keys: key)
    }

    var isTuple: Bool { if case .tuple = unfrozen { true } else { false } }
}

extension JSONValue {
    /// The elements of an array, or of an array written inside a string.
    fileprivate var elements: [JSONValue]? {
        switch self {
        case .array(let elements): return elements
        case .string(let text):
            do throws(ValueError) {
                if case .array(let elements) = try JSONValue(parsing: text.utf8) { return elements }
                return nil
            } catch { return nil }
        default: return nil
        }
    }
}
