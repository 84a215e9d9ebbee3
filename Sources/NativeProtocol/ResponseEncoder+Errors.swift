import DataModel
import Primitives

extension ResponseEncoder {
    /// Appends ERROR with the additional fields of its code (native_protocol_v5.spec, section 9).
    public mutating func error(_ error: ServerError, _ head: ResponseHead, into out: inout ByteWriter) {
        let start = begin(.error, head, into: &out)
        out.writeBE(error.code.rawValue)
        out.writeString(error.message)
        writeDetail(completed(error), into: &out)
        finish(start, into: &out)
    }

    /// Returns default details for codes that require them when the error has none.
    private func completed(_ error: ServerError) -> ServerError.Detail {
        guard case .none = error.detail else { return error.detail }
        switch error.code {
        case .unavailable: return .unavailable(consistency: .one, required: 1, alive: 0)
        case .writeTimeout: return .writeTimeout(consistency: .one, received: 0, required: 1, writeType: "SIMPLE")
        case .readTimeout: return .readTimeout(consistency: .one, received: 0, required: 1, dataPresent: false)
        case .readFailure:
            return .readFailure(consistency: .one, received: 0, required: 1, failures: 1, dataPresent: false)
        case .writeFailure:
            return .writeFailure(consistency: .one, received: 0, required: 1, failures: 1, writeType: "SIMPLE")
        case .functionFailure: return .functionFailure(keyspace: "", function: "", argumentTypes: [])
        case .alreadyExists: return .alreadyExists(keyspace: "", table: "")
        case .unprepared: return .unprepared(id: [])
        default: return .none
        }
    }

    private func writeDetail(_ detail: ServerError.Detail, into out: inout ByteWriter) {
        switch detail {
        case .none: break
        case .unavailable(let consistency, let required, let alive):
            out.writeBE(consistency.rawValue)
            out.writeBE(required)
            out.writeBE(alive)
        case .writeTimeout(let consistency, let received, let required, let writeType):
            writeCounts(consistency, received, required, into: &out)
            out.writeString(writeType)
            // v5 adds the number of contending Paxos proposals.
            if version >= .v5 && writeType == "CAS" { out.writeBE(UInt16(0)) }
        case .readTimeout(let consistency, let received, let required, let dataPresent):
            writeCounts(consistency, received, required, into: &out)
            out.write(dataPresent ? UInt8(1) : 0)
        case .readFailure(let consistency, let received, let required, let failures, let dataPresent):
            writeCounts(consistency, received, required, into: &out)
            writeFailures(failures, into: &out)
            out.write(dataPresent ? UInt8(1) : 0)
        case .writeFailure(let consistency, let received, let required, let failures, let writeType):
            writeCounts(consistency, received, required, into: &out)
            writeFailures(failures, into: &out)
            out.writeString(writeType)
        case .functionFailure(let keyspace, let function, let argumentTypes):
            out.writeString(keyspace)
            out.writeString(function)
            out.writeStringList(argumentTypes)
        case .alreadyExists(let keyspace, let table):
            out.writeString(keyspace)
            out.writeString(table)
        case .unprepared(let id): out.writeShortBytes(id)
        }
    }

    private func writeCounts(
        _ consistency: Consistency, _ received: Int32, _ required: Int32, into out: inout ByteWriter
    ) {
        out.writeBE(consistency.rawValue)
        out.writeBE(received)
        out.writeBE(required)
    }

    /// v4: the number of failures. v5: a map from node to reason code. The node addresses are not known here, so each
    /// failure gets a made-up address in 0.0.0.0/8 and reason 0 (unknown).
    private func writeFailures(_ count: Int32, into out: inout ByteWriter) {
        guard version >= .v5 else { return out.writeBE(count) }
        let entries = UInt32(clamping: min(count, 1024))
        out.writeBE(Int32(entries))
        for entry in 0..<entries {
            out.write(UInt8(4))
            out.writeBE(entry + 1)
            out.writeBE(UInt16(0))
        }
    }
}
