import DataModel
import Primitives

/// Decodes requests; its storage is reused for the next request.
///
/// To run a request again on another thread, copy `options`, `batch` and the body.
///
/// **Thread safety**: one owner.
public struct RequestDecoder: Sendable {
    /// The parameters of the QUERY, EXECUTE or BATCH decoded last.
    public private(set) var options = QueryOptions()
    /// The BATCH decoded last.
    public private(set) var batch = BatchRequest()

    public init() {}

    /// Decodes one request. After an error the connection is still usable, because the frame's end is known.
    public mutating func decode(_ frame: Frame) throws(ServerError) -> Request {
        try frame.checkSize()
        guard let opcode = frame.header.opcode else {
            throw ServerError(.protocolError, "Unknown opcode \(frame.header.rawOpcode) in a request")
        }
        let version = frame.header.version
        var reader = BodyReader(frame.body, opcode)
        if frame.header.flags & FrameFlag.customPayload != 0 { try reader.skipBytesMap() }
        switch opcode {
        case .execute:
            let id = try reader.shortBytesRange()
            let metadata = version >= .v5 ? try reader.shortBytesRange() : nil
            try readOptions(&reader, version)
            return .execute(id: id, resultMetadataID: metadata)
        case .query:
            let text = try reader.longStringRange()
            try readOptions(&reader, version)
            return .query(text: text)
        case .batch:
            try readBatch(&reader, version)
            return .batch
        case .prepare:
            let text = try reader.longStringRange()
            var keyspace: String?
            if version >= .v5, try reader.integer(UInt32.self) & 0x01 != 0 { keyspace = try reader.string() }
            return .prepare(text: text, keyspace: keyspace)
        case .startup: return .startup(try startup(&reader))
        case .options: return .options
        case .authResponse: return .authResponse(try reader.bytes())
        case .register: return .register(try eventKinds(&reader))
        case .error, .ready, .authenticate, .supported, .result, .event, .authChallenge, .authSuccess:
            throw ServerError(.protocolError, "\(opcode.name) is a response, not a request")
        }
    }

    /// Returns the text at `range` of a frame's body.
    public static func text(_ body: UnsafeRawBufferPointer, _ range: Range<Int>) throws(ServerError) -> String {
        guard let text = String(validating: UnsafeRawBufferPointer(rebasing: body[range]), as: UTF8.self) else {
            throw ServerError(.protocolError, "The statement is not valid UTF-8")
        }
        return text
    }

    private func startup(_ reader: inout BodyReader) throws(ServerError) -> StartupOptions {
        let count = Int(try reader.integer(UInt16.self))
        var all: [String: String] = [:]
        for _ in 0..<count {
            let key = try reader.string().uppercased()
            all[key] = try reader.string()
        }
        guard all["CQL_VERSION"] != nil else {
            throw ServerError(.protocolError, "Missing value CQL_VERSION in STARTUP message")
        }
        return StartupOptions(all: all)
    }

    private func eventKinds(_ reader: inout BodyReader) throws(ServerError) -> [ServerEvent.Kind] {
        var kinds: [ServerEvent.Kind] = []
        for name in try reader.stringList() {
            guard let kind = ServerEvent.Kind(rawValue: name.uppercased()) else {
                let known = ServerEvent.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw reader.refusal("unknown event type '\(name)'; known types: \(known)")
            }
            kinds.append(kind)
        }
        return kinds
    }

    private mutating func readOptions(_ reader: inout BodyReader, _ version: ProtocolVersion) throws(ServerError) {
        options.reset()
        options.consistency = try reader.consistency()
        let flags = version >= .v5 ? try reader.integer(UInt32.self) : UInt32(try reader.byte())
        if flags == 0 { return }
        if flags & QueryFlag.values != 0 {
            let count = Int(try reader.integer(UInt16.self))
            let areNamed = flags & QueryFlag.namedValues != 0
            for _ in 0..<count {
                if areNamed { options.values.appendName(try reader.string()) }
                try reader.value(into: &options.values)
            }
        }
        options.skipMetadata = flags & QueryFlag.skipMetadata != 0
        if flags & QueryFlag.pageSize != 0 {
            let size = try reader.integer(Int32.self)
            options.pageSize = size > 0 ? Int(size) : nil
        }
        if flags & QueryFlag.pagingState != 0 { options.pagingState = try reader.bytes() }
        try readTail(&reader, version, flags)
    }

    /// Reads the parameters that QUERY, EXECUTE and BATCH have in common at their end.
    private mutating func readTail(_ reader: inout BodyReader, _ version: ProtocolVersion, _ flags: UInt32)
        throws(ServerError)
    {
        if flags & QueryFlag.serialConsistency != 0 {
            let level = try reader.consistency()
            guard level == .serial || level == .localSerial else {
                throw ServerError.invalid(
                    "Invalid consistency level for conditional update: \(level.name). Must be one of SERIAL or LOCAL_SERIAL"
                )
            }
            options.serialConsistency = level
        }
        if flags & QueryFlag.defaultTimestamp != 0 {
            let timestamp = try reader.integer(Int64.self)
            guard timestamp != Int64.min else {
                throw reader.refusal("out of bound timestamp, must be in [\(Int64.min + 1), \(Int64.max)]")
            }
            options.defaultTimestamp = timestamp
        }
        guard version >= .v5 else { return }
        if flags & QueryFlag.keyspace != 0 { options.keyspace = try reader.string() }
        if flags & QueryFlag.nowInSeconds != 0 { options.nowInSeconds = try reader.integer(Int32.self) }
    }

    private mutating func readBatch(_ reader: inout BodyReader, _ version: ProtocolVersion) throws(ServerError) {
        batch.reset()
        options.reset()
        let rawKind = try reader.byte()
        guard let kind = BatchRequest.Kind(rawValue: rawKind) else {
            throw reader.refusal("batch type \(rawKind); 0 is logged, 1 unlogged, 2 counter")
        }
        batch.kind = kind
        let count = Int(try reader.integer(UInt16.self))
        for _ in 0..<count {
            let source = try reader.byte()
            switch source {
            case 0: batch.begin(.text(try reader.longStringRange()))
            case 1: batch.begin(.prepared(try reader.shortBytesRange()))
            default: throw reader.refusal("statement kind \(source) in a batch; 0 is text, 1 is prepared")
            }
            let values = Int(try reader.integer(UInt16.self))
            for _ in 0..<values { try reader.value(into: &batch.statements[batch.count - 1].values) }
        }
        options.consistency = try reader.consistency()
        let flags = version >= .v5 ? try reader.integer(UInt32.self) : UInt32(try reader.byte())
        if flags & QueryFlag.namedValues != 0 {
            throw reader.refusal("names for values cannot be used in a batch; bind them by position")
        }
        try readTail(&reader, version, flags)
    }
}
