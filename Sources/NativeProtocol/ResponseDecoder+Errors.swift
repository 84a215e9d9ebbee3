import DataModel
import Primitives

extension ResponseDecoder {
    /// Decodes an ERROR body. An unknown code becomes a server error with the code in its message.
    static func error(_ reader: inout BodyReader, _ version: ProtocolVersion) throws(ServerError) -> ServerError {
        let raw = try reader.integer(Int32.self)
        let message = try reader.string()
        guard let code = ServerError.Code(rawValue: raw) else {
            return ServerError(.serverError, "error 0x\(String(raw, radix: 16)): \(message)")
        }
        return ServerError(code, message, detail: try detail(code, &reader, version))
    }

    private static func detail(
        _ code: ServerError.Code, _ reader: inout BodyReader, _ version: ProtocolVersion
    ) throws(ServerError) -> ServerError.Detail {
        switch code {
        case .unavailable:
            return .unavailable(
                consistency: try reader.consistency(), required: try reader.integer(), alive: try reader.integer())
        case .writeTimeout:
            return .writeTimeout(
                consistency: try reader.consistency(), received: try reader.integer(), required: try reader.integer(),
                writeType: try reader.string())
        case .readTimeout:
            return .readTimeout(
                consistency: try reader.consistency(), received: try reader.integer(), required: try reader.integer(),
                dataPresent: try reader.byte() != 0)
        case .readFailure:
            return .readFailure(
                consistency: try reader.consistency(), received: try reader.integer(), required: try reader.integer(),
                failures: try failures(&reader, version), dataPresent: try reader.byte() != 0)
        case .writeFailure:
            return .writeFailure(
                consistency: try reader.consistency(), received: try reader.integer(), required: try reader.integer(),
                failures: try failures(&reader, version), writeType: try reader.string())
        case .functionFailure:
            return .functionFailure(
                keyspace: try reader.string(), function: try reader.string(), argumentTypes: try reader.stringList())
        case .alreadyExists: return .alreadyExists(keyspace: try reader.string(), table: try reader.string())
        case .unprepared: return .unprepared(id: try reader.shortBytes())
        default: return .none
        }
    }

    private static func failures(_ reader: inout BodyReader, _ version: ProtocolVersion) throws(ServerError) -> Int32 {
        let count = try reader.integer(Int32.self)
        guard version >= .v5 else { return count }
        guard count >= 0 else { throw reader.refusal("\(count) failures") }
        for _ in 0..<count {
            let length = Int(try reader.byte())
            try reader.skip(length + 2)
        }
        return count
    }
}
