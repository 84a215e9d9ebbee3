/// Builds serialized collections and tuples from the bytes of their elements.
public enum CollectionBuilder {
    /// The maximum size of a built collection, in bytes.
    static let maximumBytes = Int(Int32.max)

    private static func append(_ element: [UInt8], to bytes: inout [UInt8]) {
        withUnsafeBytes(of: Int32(truncatingIfNeeded: element.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: element)
    }

    private static func check(_ bytes: [UInt8]) throws(ValueError) -> [UInt8] {
        guard bytes.count <= maximumBytes else { throw .invalid("Collection of \(bytes.count) bytes is too long") }
        return bytes
    }

    public static func list(_ elements: [[UInt8]]) throws(ValueError) -> [UInt8] {
        var bytes = CQLType.bigEndian(Int32(truncatingIfNeeded: elements.count))
        for element in elements { append(element, to: &bytes) }
        return try check(bytes)
    }

    /// Builds a set: sorts the elements in the order of their type and drops duplicates.
    public static func set(_ elements: [[UInt8]], of type: CQLType) throws(ValueError) -> [UInt8] {
        var unique: [[UInt8]] = []
        for element in elements.sorted(by: { type.compare($0, $1) < 0 }) {
            if let last = unique.last, type.compare(last, element) == 0 { continue }
            unique.append(element)
        }
        return try list(unique)
    }

    /// Builds a map: sorts the entries by key; of equal keys the last one remains.
    public static func map(_ entries: [(key: [UInt8], value: [UInt8])], keys type: CQLType) throws(ValueError)
        -> [UInt8]
    {
        let ordered = entries.enumerated().sorted { a, b in
            let order = type.compare(a.element.key, b.element.key)
            return order != 0 ? order < 0 : a.offset < b.offset
        }
        var unique: [(key: [UInt8], value: [UInt8])] = []
        for (_, entry) in ordered {
            if let last = unique.last, type.compare(last.key, entry.key) == 0 { unique.removeLast() }
            unique.append(entry)
        }
        var bytes = CQLType.bigEndian(Int32(truncatingIfNeeded: unique.count))
        for (key, value) in unique {
            append(key, to: &bytes)
            append(value, to: &bytes)
        }
        return try check(bytes)
    }

    public static func tuple(_ fields: [[UInt8]?]) -> [UInt8] {
        var bytes: [UInt8] = []
        for field in fields {
            if let field { append(field, to: &bytes) } else { bytes.append(contentsOf: [0xff, 0xff, 0xff, 0xff]) }
        }
        return bytes
    }

    /// Returns the canonical form, in which equal sets and maps have equal bytes: sorted and without duplicates at
    /// every depth. Nil when `bytes` are canonical already.
    /// - Parameter bytes: a valid value of `type`.
    public static func canonical(_ bytes: UnsafeRawBufferPointer, _ type: CQLType) throws(ValueError) -> [UInt8]? {
        guard let rebuilt = try rebuilt(bytes, type) else { return nil }
        return rebuilt.withUnsafeBytes { CQLType.compareBytes($0, bytes) } == 0 ? nil : rebuilt
    }

    /// Returns the canonical form, or nil when the type needs none.
    private static func rebuilt(_ bytes: UnsafeRawBufferPointer, _ type: CQLType) throws(ValueError) -> [UInt8]? {
        switch type {
        case .frozen(let inner): return try rebuilt(bytes, inner)
        case .list(let element):
            guard element.needsCanonicalForm else { return nil }
            var (elements, changed) = ([[UInt8]](), false)
            var reader = try CollectionReader(bytes, name: "list")
            while let value = try reader.next() {
                let better = try canonical(value, element)
                changed = changed || better != nil
                elements.append(better ?? Array(value))
            }
            return changed ? try list(elements) : nil
        case .set(let element):
            if !element.needsCanonicalForm, try isSorted(bytes, element, valuesPerElement: 1) { return nil }
            var elements: [[UInt8]] = []
            var reader = try CollectionReader(bytes, name: "set")
            while let value = try reader.next() { elements.append(try canonical(value, element) ?? Array(value)) }
            return try set(elements, of: element)
        case .map(let key, let valueType):
            if !key.needsCanonicalForm, !valueType.needsCanonicalForm, try isSorted(bytes, key, valuesPerElement: 2) {
                return nil
            }
            var entries: [(key: [UInt8], value: [UInt8])] = []
            var reader = try CollectionReader(bytes, name: "map", valuesPerElement: 2)
            while let name = try reader.next(), let value = try reader.next() {
                entries.append(
                    (try canonical(name, key) ?? Array(name), try canonical(value, valueType) ?? Array(value)))
            }
            return try map(entries, keys: key)
        case .tuple(let fields):
            guard type.needsCanonicalForm else { return nil }
            var parts: [[UInt8]?] = []
            var reader = TupleReader(bytes)
            for field in fields {
                guard let value = try reader.next() else { break }
                if let value { parts.append(try canonical(value, field) ?? Array(value)) } else { parts.append(nil) }
            }
            return tuple(parts)
        default: return nil
        }
    }

    private static func isSorted(_ bytes: UnsafeRawBufferPointer, _ type: CQLType, valuesPerElement: Int)
        throws(ValueError) -> Bool
    {
        var reader = try CollectionReader(bytes, name: "collection", valuesPerElement: valuesPerElement)
        var last: UnsafeRawBufferPointer?
        while let value = try reader.next() {
            if let last, type.compare(last, value) >= 0 { return false }
            last = value
            if valuesPerElement == 2 { _ = try reader.next() }
        }
        return true
    }
}

extension CQLType {
    /// Whether equal values can have different bytes, because the type is or contains a set or map.
    public var needsCanonicalForm: Bool {
        switch self {
        case .set, .map: true
        case .list(let element): element.needsCanonicalForm
        case .tuple(let fields): fields.contains { $0.needsCanonicalForm }
        case .frozen(let inner): inner.needsCanonicalForm
        default: false
        }
    }
}
