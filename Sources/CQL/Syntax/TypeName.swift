import DataModel

/// A parsed type.
public indirect enum TypeName: Sendable {
    case simple(CQLType)
    case list(TypeName)
    case set(TypeName)
    case map(TypeName, TypeName)
    case tuple([TypeName])
    case frozen(TypeName)
    /// A user-defined type.
    case user(keyspace: String?, name: String)
    /// A custom type: the Java class in quotes.
    case custom(String)

    public var text: String {
        switch self {
        case .simple(let type): type.description
        case .list(let element): "list<\(element.text)>"
        case .set(let element): "set<\(element.text)>"
        case .map(let key, let value): "map<\(key.text), \(value.text)>"
        case .tuple(let fields): "tuple<\(fields.map(\.text).joined(separator: ", "))>"
        case .frozen(let inner): "frozen<\(inner.text)>"
        case .user(let keyspace, let name): (keyspace.map { $0 + "." } ?? "") + name
        case .custom(let name): "'\(name)'"
        }
    }

    /// Resolves the type.
    /// - Parameter keyspace: the keyspace of unqualified user-defined types, for the error message.
    /// - Throws: Invalid for unknown types and for non-frozen collections inside collections.
    public func resolved(keyspace: String?) throws(ServerError) -> CQLType {
        let type = try resolved(keyspace, isFrozen: false)
        // The schema stores types as text: refuse a type that would not parse again.
        guard CQLType.parse(type.description) == type else {
            throw .invalid("Type nested deeper than \(CQLType.maximumDepth) levels")
        }
        return type
    }

    private func resolved(_ keyspace: String?, isFrozen: Bool) throws(ServerError) -> CQLType {
        switch self {
        case .simple(let type): return type
        case .list(let element):
            let type = CQLType.list(try self.element(element, keyspace, isFrozen))
            return isFrozen ? type.asFrozen : type
        case .set(let element):
            let elementType = try self.element(element, keyspace, isFrozen)
            if elementType.containsDuration { throw .invalid("Durations are not allowed inside sets: \(text)") }
            let type = CQLType.set(elementType)
            return isFrozen ? type.asFrozen : type
        case .map(let key, let value):
            let keyType = try self.element(key, keyspace, isFrozen)
            if keyType.containsDuration { throw .invalid("Durations are not allowed as map keys: \(text)") }
            let type = CQLType.map(keyType, try self.element(value, keyspace, isFrozen))
            return isFrozen ? type.asFrozen : type
        case .tuple(let fields):
            var types: [CQLType] = []
            for field in fields {
                let type = try field.resolved(keyspace, isFrozen: true)
                if type == .counter { throw .invalid("Counters are not allowed inside tuples") }
                types.append(type)
            }
            return .tuple(types)
        case .frozen(let inner):
            if case .simple(let type) = inner {
                throw .invalid("frozen<> is only allowed on collections, tuples, and user-defined types (got \(type))")
            }
            return try inner.resolved(keyspace, isFrozen: true)
        case .user(let own, let name): throw .invalid("Unknown type \((own ?? keyspace).map { $0 + "." } ?? "")\(name)")
        case .custom(let name):
            let simple = name.split(separator: ".").last.map(String.init) ?? name
            guard let type = Self.javaTypes[simple] else {
                throw .invalid("Custom type \(name) is not supported: use one of CQL's own types")
            }
            return type
        }
    }

    private func element(_ element: TypeName, _ keyspace: String?, _ isFrozen: Bool) throws(ServerError) -> CQLType {
        let type = try element.resolved(keyspace, isFrozen: isFrozen)
        if type == .counter { throw .invalid("Counters are not allowed inside collections: \(text)") }
        if type.isMultiCell { throw .invalid("Non-frozen collections are not allowed inside collections: \(text)") }
        return type
    }

    private static let javaTypes: [String: CQLType] = [
        "AsciiType": .ascii, "LongType": .bigint, "BytesType": .blob, "BooleanType": .boolean,
        "CounterColumnType": .counter,
        "SimpleDateType": .date, "DecimalType": .decimal, "DoubleType": .double, "DurationType": .duration,
        "FloatType": .float,
        "InetAddressType": .inet, "Int32Type": .int, "ShortType": .smallint, "UTF8Type": .text, "TimeType": .time,
        "TimestampType": .timestamp, "TimeUUIDType": .timeuuid, "ByteType": .tinyint, "UUIDType": .uuid,
        "IntegerType": .varint,
    ]
}
