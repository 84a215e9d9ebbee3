import DataModel

/// A function of values of one row, resolved to its argument types.
public struct ScalarFunction: Sendable, Hashable {
    public enum Operation: Sendable, Hashable {
        /// The token of a partition key.
        case token
        case now, uuid, currentTimestamp, currentDate, currentTime, currentTimeUUID
        case toTimestamp, toDate, toUnixTimestamp
        case minTimeuuid, maxTimeuuid
        /// Converts any type to its bytes, and back.
        case asBlob, fromBlob
        case cast
        case toJSON, fromJSON
        case add, subtract, multiply, divide, modulo, negate
    }

    public let name: String
    public let operation: Operation
    public let argumentTypes: [CQLType]
    public let returnType: CQLType

    public init(name: String, operation: Operation, argumentTypes: [CQLType], returnType: CQLType) {
        self.name = name
        self.operation = operation
        self.argumentTypes = argumentTypes
        self.returnType = returnType
    }

    /// Whether each call gives another value.
    var givesAnotherValueEachTime: Bool {
        switch operation {
        case .now, .uuid, .currentTimeUUID: true
        default: false
        }
    }

    /// Equal arguments give equal results, now and later.
    public var isPure: Bool {
        switch operation {
        case .now, .uuid, .currentTimestamp, .currentDate, .currentTime, .currentTimeUUID: false
        default: true
        }
    }
}

/// A function over a group of rows, resolved to its argument type.
public struct AggregateFunction: Sendable, Hashable {
    public enum Operation: Sendable, Hashable { case countRows, count, min, max, sum, average }

    public let name: String
    public let operation: Operation
    /// Nil for `count(*)`.
    public let argumentType: CQLType?
    public let returnType: CQLType

    public init(name: String, operation: Operation, argumentType: CQLType?, returnType: CQLType) {
        self.name = name
        self.operation = operation
        self.argumentType = argumentType
        self.returnType = returnType
    }
}
