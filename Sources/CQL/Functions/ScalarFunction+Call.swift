import DataModel
import Primitives

extension ScalarFunction {
    /// The result over native bytes; nil is null. Except for `toJson`, null in gives null out.
    /// - Throws: Invalid or FunctionFailure, saying which argument does not fit.
    public func call(_ arguments: [[UInt8]?], _ context: inout EvaluationContext) throws(ServerError) -> [UInt8]? {
        switch operation {
        case .now, .currentTimeUUID: return context.nextTimeUUID().bytes
        case .uuid: return context.randomUUID().bytes
        case .currentTimestamp: return CQLType.bigEndian(TimeConversion.milliseconds(micros: context.nowMicroseconds))
        case .currentDate:
            return CQLType.bigEndian(TimeConversion.date(milliseconds: TimeConversion.milliseconds(micros: context.nowMicroseconds)))
        case .currentTime:
            let day: Int64 = 86_400_000_000
            return CQLType.bigEndian(((context.nowMicroseconds % day) + day) % day * 1000)
        case .token: return try token(arguments)
        case .toJSON:
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
                detail: .functionFailure(keyspace: "system", function: name, argumentTypes: argumentTypes.map(\.description)))
        }
    }

    private func token(_ arguments: [[UInt8]?]) throws(ServerError) -> [UInt8]? {
        var key: [UInt8] = []
        for argument in arguments {
            guard let argument else { return nil }
            if arguments.count == 1 {
                key = argument
            } else {
                guard argument.count <= 65_535 else { throw .invalid("Key length of \(argument.count) is longer than maximum of 65535") }
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

/// Conversions between the types that hold a time.
enum TimeConversion {
    static func milliseconds(micros: Int64) -> Int64 { micros / 1000 - (micros % 1000 < 0 ? 1 : 0) }

    /// Days since 1970 plus 2^31; times beyond the range of `date` stick at its ends.
    static func date(milliseconds: Int64) -> UInt32 {
        let day: Int64 = 86_400_000
        let days = milliseconds / day - (milliseconds % day < 0 ? 1 : 0)
        return UInt32(clamping: days.addingReportingOverflow(1 << 31).partialValue)
    }

    /// Milliseconds since 1970 of a timestamp, date or timeuuid; nil for the empty value and for a uuid of another version.
    static func milliseconds(_ value: [UInt8], of type: CQLType) -> Int64? {
        switch type {
        case .timestamp: return value.withUnsafeBytes { CQLType.integer($0) }
        case .date:
            let raw: UInt32? = value.withUnsafeBytes { CQLType.integer($0) }
            return raw.map { (Int64($0) - (1 << 31)) * 86_400_000 }
        case .timeuuid, .uuid:
            guard let id = UUID(bytes: value), id.version == 1 else { return nil }
            let ticks = Int64(id.ticks) - Int64(UUID.unixEpochTicks)
            return ticks / 10_000 - (ticks % 10_000 < 0 ? 1 : 0)
        default: return nil
        }
    }

    /// The least or greatest time-based identifier of a millisecond, in the order of `timeuuid`.
    static func bound(milliseconds: Int64, isUpper: Bool) -> UUID {
        // Times beyond what 60 bits of ticks can say stick at their ends.
        let limit = (Int64(1) << 60) - 1
        let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 10_000)
        let base = overflow ? (milliseconds < 0 ? 0 : limit) : product
        let (sum, overflow2) = base.addingReportingOverflow(Int64(UUID.unixEpochTicks) + (isUpper ? 9_999 : 0))
        let ticks = UInt64(overflow2 ? limit : max(0, min(sum, limit)))
        // The low half compares as signed bytes: 80 is the least of them, 7f the greatest.
        return UUID(
            high: UUID.timeBased(ticks: ticks, clockSequenceAndNode: 0).high, low: isUpper ? 0x7f7f_7f7f_7f7f_7f7f : 0x8080_8080_8080_8080)
    }
}
