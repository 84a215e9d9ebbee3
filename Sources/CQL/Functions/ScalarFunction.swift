import DataModel

/// A function of one row, resolved to the types it is called with.
public struct ScalarFunction: Sendable, Hashable {
    public enum Operation: Sendable, Hashable {
        /// The partition token of the arguments.
        case token
        case now, uuid, currentTimestamp, currentDate, currentTime, currentTimeUUID
        case toTimestamp, toDate, toUnixTimestamp
        case minTimeuuid, maxTimeuuid
        /// Any type to its bytes, and back.
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

/// A function of a group of rows, resolved to the type it is called with.
public struct AggregateFunction: Sendable, Hashable {
    public enum Operation: Sendable, Hashable { case countRows, count, min, max, sum, average }

    public let name: String
    public let operation: Operation
    /// Absent for `count(*)`.
    public let argumentType: CQLType?
    public let returnType: CQLType

    public init(name: String, operation: Operation, argumentType: CQLType?, returnType: CQLType) {
        self.name = name
        self.operation = operation
        self.argumentType = argumentType
        self.returnType = returnType
    }
}
