import DataModel
import Primitives

extension ScalarFunction {
    /// The longest value, in bytes, that `toJson` takes.
    static let largestJSONArgument = 16 << 20

    /// Calls the function on native bytes; nil is null. If an argument is null the result is null, except for `toJson`.
    /// - Throws: Invalid or FunctionFailure, naming the argument that does not fit.
    public func call(_ arguments: [[UInt8]?], _ context: inout EvaluationContext) throws(ServerError) -> [UInt8]? {
        switch operation {
        case .now, .currentTimeUUID: return context.nextTimeUUID().bytes
        case .uuid: return context.randomUUID().bytes
        case .currentTimestamp: return CQLType.bigEndian(TimeConversion.milliseconds(micros: context.nowMicroseconds))
        case .currentDate:
            return CQLType.bigEndian(
                TimeConversion.date(milliseconds: TimeConversion.milliseconds(micros: context.nowMicroseconds)))
        case .currentTime:
            let day: Int64 = 86_400_000_000
            return CQLType.bigEndian(((context.nowMicroseconds % day) + day) % day * 1000)
        case .token: return try token(arguments)
        case .toJSON:
            // Each level of toJson(toJson(...)) escapes the one before, which may double its length.
            if let argument = arguments[0], argument.count > ScalarFunction.largestJSONArgument {
                throw .invalid(
                    "\(name): a value of \(argument.count) bytes is larger than \(ScalarFunction.largestJSONArgument)")
            }
            var writer = ByteWriter(capacity: 64)
            if let value = arguments[0] {
                value.withUnsafeBytes { argumentTypes[0].appendJSON($0, to: &writer) }
            } else {
                writer.write("null")
            }
            return writer.toArray()
        default: break
        }
        var present: [[UInt8]] = []
        for argument in arguments {
            guard let argument else { return nil }
            present.append(argument)
        }
        do throws(ValueError) { return try call(present) } catch {
            throw ServerError(
                .functionFailure,
                "execution of '\(name)[\(argumentTypes.map(\.description).joined(separator: ", "))]' failed: \(error.message)",
                detail: .functionFailure(
                    keyspace: "system", function: name, argumentTypes: argumentTypes.map(\.description)))
        }
    }

    private func token(_ arguments: [[UInt8]?]) throws(ServerError) -> [UInt8]? {
        var key: [UInt8] = []
        for argument in arguments {
            guard let argument else { return nil }
            if arguments.count == 1 {
                key = argument
            } else {
                guard argument.count <= 65_535 else {
                    throw .invalid("Key length of \(argument.count) is longer than maximum of 65535")
                }
                key += CQLType.bigEndian(UInt16(argument.count)) + argument + [0]
            }
        }
        return CQLType.bigEndian(Murmur3.token(key))
    }

    private func call(_ arguments: [[UInt8]]) throws(ValueError) -> [UInt8]? {
        let value = arguments[0]
        switch operation {
        case .asBlob: return value
        case .fromBlob:
            try returnType.validate(value)
            return value
        case .cast: return try ValueCast.cast(value, from: argumentTypes[0], to: returnType)
        case .fromJSON: return try returnType.bytes(fromJSON: try JSONValue(parsing: value))
        case .toTimestamp, .toDate, .toUnixTimestamp:
            guard let milliseconds = TimeConversion.milliseconds(value, of: argumentTypes[0]) else { return nil }
            return operation == .toDate
                ? CQLType.bigEndian(TimeConversion.date(milliseconds: milliseconds)) : CQLType.bigEndian(milliseconds)
        case .minTimeuuid, .maxTimeuuid:
            guard let milliseconds = TimeConversion.milliseconds(value, of: .timestamp) else { return nil }
            return TimeConversion.bound(milliseconds: milliseconds, isUpper: operation == .maxTimeuuid).bytes
        case .add, .subtract, .multiply, .divide, .modulo, .negate:
            return try Arithmetic.compute(operation, arguments, argumentTypes, returnType)
        case .now, .uuid, .currentTimestamp, .currentDate, .currentTime, .currentTimeUUID, .token, .toJSON: return nil
        }
    }
}
