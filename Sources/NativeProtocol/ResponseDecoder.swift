import DataModel
import Primitives

/// Decodes a server's responses; used by clients.
public enum ResponseDecoder {
    /// Decodes one response.
    ///
    /// - Parameter known: the result columns of the executed statement, for rows without metadata.
    /// - Throws: a protocol error when the body is invalid. An ERROR response is returned, not thrown.
    public static func decode(_ frame: Frame, known: ResultMetadata? = nil) throws(ServerError) -> ReceivedResponse {
        try frame.checkSize()
        guard let opcode = frame.header.opcode else {
            throw ServerError(.protocolError, "Unknown opcode \(frame.header.rawOpcode) in a response")
        }
        var reader = BodyReader(frame.body, opcode)
        let flags = frame.header.flags
        let tracingID = flags & FrameFlag.tracing != 0 ? try reader.uuid() : nil
        let warnings = flags & FrameFlag.warning != 0 ? try reader.stringList() : []
        if flags & FrameFlag.customPayload != 0 { try reader.skipBytesMap() }
        let response: Response
        switch opcode {
        case .ready: response = .ready
        case .authenticate: response = .authenticate(try reader.string())
        case .authChallenge: response = .authChallenge(try reader.bytes())
        case .authSuccess: response = .authSuccess(try reader.bytes())
        case .supported:
            var options: [String: [String]] = [:]
            for _ in 0..<Int(try reader.integer(UInt16.self)) {
                let key = try reader.string()
                options[key] = try reader.stringList()
            }
            response = .supported(options)
        case .error: response = .error(try error(&reader, frame.header.version))
        case .result: response = try result(&reader, frame.header.version, known)
        case .event: response = .event(try event(&reader))
        case .startup, .options, .query, .prepare, .execute, .register, .batch, .authResponse:
            throw ServerError(.protocolError, "\(opcode.name) is a request, not a response")
        }
        return ReceivedResponse(
            stream: frame.header.stream, tracingID: tracingID, warnings: warnings, response: response)
    }

    private static func result(
        _ reader: inout BodyReader, _ version: ProtocolVersion, _ known: ResultMetadata?
    ) throws(ServerError) -> Response {
        let kind = try reader.integer(Int32.self)
        switch kind {
        case ResultKind.void: return .void
        case ResultKind.rows: return try rows(&reader, known)
        case ResultKind.setKeyspace: return .setKeyspace(try reader.string())
        case ResultKind.prepared: return .prepared(try prepared(&reader, version))
        case ResultKind.schemaChange: return .schemaChange(try schemaChange(&reader))
        default: throw reader.refusal("unknown kind of result \(kind)")
        }
    }

    private struct Metadata {
        var columns: [ColumnSpec]?
        var columnCount: Int
        var pagingState: [UInt8]?
        var changedID: [UInt8]?
    }

    private static func metadata(_ reader: inout BodyReader) throws(ServerError) -> Metadata {
        let flags = try reader.integer(Int32.self)
        let count = Int(try reader.integer(Int32.self))
        guard count >= 0 else { throw reader.refusal("\(count) columns") }
        let pagingState = flags & MetadataFlag.hasMorePages != 0 ? try reader.bytes() : nil
        let changedID = flags & MetadataFlag.metadataChanged != 0 ? try reader.shortBytes() : nil
        let columns =
            flags & MetadataFlag.noMetadata != 0
            ? nil : try self.columns(&reader, count, isGlobal: flags & MetadataFlag.globalTableSpec != 0)
        return Metadata(columns: columns, columnCount: count, pagingState: pagingState, changedID: changedID)
    }

    private static func columns(_ reader: inout BodyReader, _ count: Int, isGlobal: Bool) throws(ServerError)
        -> [ColumnSpec]
    {
        var columns: [ColumnSpec] = []
        var keyspace = ""
        var table = ""
        if isGlobal {
            keyspace = try reader.string()
            table = try reader.string()
        }
        for _ in 0..<count {
            if !isGlobal {
                keyspace = try reader.string()
                table = try reader.string()
            }
            let name = try reader.string()
            columns.append(ColumnSpec(keyspace: keyspace, table: table, name: name, type: try TypeOption.read(&reader)))
        }
        return columns
    }

    private static func rows(_ reader: inout BodyReader, _ known: ResultMetadata?) throws(ServerError) -> Response {
        let metadata = try metadata(&reader)
        let described = metadata.columns.map { ResultMetadata(columns: $0) } ?? known
        guard let described, described.columns.count == metadata.columnCount else {
            throw reader.refusal("rows of \(metadata.columnCount) columns without metadata")
        }
        let rowCount = Int(try reader.integer(Int32.self))
        guard rowCount >= 0 else { throw reader.refusal("\(rowCount) rows") }
        guard metadata.columnCount > 0 || rowCount == 0 else { throw reader.refusal("\(rowCount) rows of no columns") }
        // Validate all lengths now, so that readers of the cells can trust them.
        let start = reader.offset
        for _ in 0..<rowCount {
            for _ in 0..<metadata.columnCount {
                let length = Int(try reader.integer(Int32.self))
                if length > 0 { try reader.skip(length) }
            }
        }
        let cells = reader.copy(start..<reader.offset)
        let rows = ResultRows(metadata: described, rowCount: rowCount, cells: cells, pagingState: metadata.pagingState)
        return .rows(rows, changedMetadataID: metadata.changedID)
    }

    private static func prepared(_ reader: inout BodyReader, _ version: ProtocolVersion) throws(ServerError)
        -> PreparedDescription
    {
        let id = try reader.shortBytes()
        let metadataID = version >= .v5 ? try reader.shortBytes() : []
        let flags = try reader.integer(Int32.self)
        let count = Int(try reader.integer(Int32.self))
        guard count >= 0 else { throw reader.refusal("\(count) markers") }
        let keyCount = Int(try reader.integer(Int32.self))
        guard keyCount >= 0 else { throw reader.refusal("\(keyCount) partition key markers") }
        var keyMarkers: [UInt16] = []
        for _ in 0..<keyCount { keyMarkers.append(try reader.integer()) }
        let markers = try columns(&reader, count, isGlobal: flags & MetadataFlag.globalTableSpec != 0)
        let result = try metadata(&reader)
        return PreparedDescription(
            id: id, resultMetadataID: metadataID, markers: markers, partitionKeyMarkers: keyMarkers,
            result: result.columns.flatMap { $0.isEmpty ? nil : ResultMetadata(columns: $0) })
    }

    private static func schemaChange(_ reader: inout BodyReader) throws(ServerError) -> SchemaChange? {
        let kind = try reader.string()
        let target = try reader.string()
        let keyspace = try reader.string()
        let name = target == SchemaChange.Target.keyspace.rawValue ? "" : try reader.string()
        guard let kind = SchemaChange.Kind(rawValue: kind), let target = SchemaChange.Target(rawValue: target) else {
            return nil
        }
        return SchemaChange(kind: kind, target: target, keyspace: keyspace, name: name)
    }

    private static func event(_ reader: inout BodyReader) throws(ServerError) -> ServerEvent? {
        guard let kind = ServerEvent.Kind(rawValue: try reader.string()) else { return nil }
        switch kind {
        case .schemaChange: return try schemaChange(&reader).map { .schema($0) }
        case .topologyChange:
            let change = ServerEvent.Topology(rawValue: try reader.string())
            let endpoint = try endpoint(&reader)
            return change.map { .topology($0, endpoint) }
        case .statusChange:
            let status = ServerEvent.Status(rawValue: try reader.string())
            let endpoint = try endpoint(&reader)
            return status.map { .status($0, endpoint) }
        }
    }

    private static func endpoint(_ reader: inout BodyReader) throws(ServerError) -> ServerEvent.Endpoint {
        let length = Int(try reader.byte())
        guard length == 4 || length == 16 else { throw reader.refusal("an address of \(length) bytes") }
        let address = [UInt8](try reader.slice(length))
        return ServerEvent.Endpoint(address: address, port: try reader.integer())
    }
}
