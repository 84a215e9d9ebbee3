import DataModel

/// The CQL functions that need only a signature, by name; the planner handles the others.
enum FunctionCatalog {
    static func signatures(of name: String) -> [ScalarFunction]? {
        func make(_ operation: ScalarFunction.Operation, _ arguments: [CQLType], _ result: CQLType) -> ScalarFunction {
            ScalarFunction(name: name, operation: operation, argumentTypes: arguments, returnType: result)
        }
        switch name {
        case "now": return [make(.now, [], .timeuuid)]
        case "uuid": return [make(.uuid, [], .uuid)]
        case "currenttimestamp": return [make(.currentTimestamp, [], .timestamp)]
        case "currentdate": return [make(.currentDate, [], .date)]
        case "currenttime": return [make(.currentTime, [], .time)]
        case "currenttimeuuid": return [make(.currentTimeUUID, [], .timeuuid)]
        case "totimestamp":
            return [make(.toTimestamp, [.timeuuid], .timestamp), make(.toTimestamp, [.date], .timestamp)]
        case "todate": return [make(.toDate, [.timeuuid], .date), make(.toDate, [.timestamp], .date)]
        case "tounixtimestamp":
            return [CQLType.timeuuid, .timestamp, .date].map { make(.toUnixTimestamp, [$0], .bigint) }
        case "dateof": return [make(.toTimestamp, [.timeuuid], .timestamp)]
        case "unixtimestampof": return [make(.toUnixTimestamp, [.timeuuid], .bigint)]
        case "mintimeuuid": return [make(.minTimeuuid, [.timestamp], .timeuuid)]
        case "maxtimeuuid": return [make(.maxTimeuuid, [.timestamp], .timeuuid)]
        default: break
        }
        if name.hasPrefix("blobas"), let type = CQLType.simple(named: String(name.dropFirst(6))), type != .blob {
            return [make(.fromBlob, [.blob], type)]
        }
        if name.hasSuffix("asblob"), let type = CQLType.simple(named: String(name.dropLast(6))), type != .blob {
            return [make(.asBlob, [type], .blob)]
        }
        return nil
    }

    static func describe(_ functions: [ScalarFunction]) -> String {
        functions.map {
            "system.\($0.name) : (\($0.argumentTypes.map(\.description).joined(separator: ", "))) -> \($0.returnType)"
        }
        .joined(separator: ", ")
    }
}
