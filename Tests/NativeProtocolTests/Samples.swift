import DataModel
import Fixtures
import Primitives

@testable import NativeProtocol

/// Requests and responses that the tests share.
enum Samples {
    static let metadata = ResultMetadata(columns: [
        ColumnSpec(keyspace: "demo", table: "airports", name: "faa", type: .text),
        ColumnSpec(keyspace: "demo", table: "airports", name: "tags", type: .frozen(.map(.text, .list(.int)))),
        ColumnSpec(keyspace: "demo", table: "airports", name: "spot", type: .tuple([.double, .double])),
    ])

    static let rows = ResultRows(
        metadata: metadata, rowCount: 1, cells: bytes("00000003 4a464b ffffffff 00000000"), pagingState: [1, 2, 3])

    static let prepared = PreparedDescription(
        id: [7, 7], resultMetadataID: [9],
        markers: [ColumnSpec(keyspace: "demo", table: "airports", name: "faa", type: .text)],
        partitionKeyMarkers: [0], result: metadata)

    static func options() -> QueryOptions {
        var options = QueryOptions()
        options.consistency = .localQuorum
        options.values.append([1, 2, 3, 4])
        options.values.appendNull()
        options.values.appendUnset()
        options.values.append([])
        options.skipMetadata = true
        options.pageSize = 5000
        options.pagingState = [0xAA]
        options.serialConsistency = .localSerial
        options.defaultTimestamp = 1_600_000_000_000_000
        options.keyspace = "demo"
        options.nowInSeconds = 1_600_000_000
        return options
    }

    /// Returns every kind of request, as consecutive frames.
    static func requests(_ version: ProtocolVersion) -> [UInt8] {
        let encoder = RequestEncoder(version: version)
        var out = ByteWriter()
        encoder.options(stream: 0, into: &out)
        encoder.startup(StartupOptions(all: ["CQL_VERSION": "3.0.0", "COMPRESSION": "lz4"]), stream: 1, into: &out)
        encoder.authResponse([0, 97, 0, 98], stream: 2, into: &out)
        encoder.register([.schemaChange, .statusChange], stream: 3, into: &out)
        encoder.query("SELECT * FROM t WHERE a = ? AND b = ?", options(), stream: 4, into: &out)
        encoder.prepare("INSERT INTO t (a) VALUES (?)", keyspace: "demo", stream: 5, into: &out)
        encoder.execute(prepared, options(), stream: 6, into: &out)
        encoder.batch(.unlogged, prepared, [options().values, options().values], options(), stream: 7, into: &out)
        return out.toArray()
    }

    /// Returns every kind of response, as consecutive frames.
    static func responses(_ version: ProtocolVersion) -> [UInt8] {
        var encoder = ResponseEncoder(version: version)
        var out = ByteWriter()
        let head = ResponseHead(stream: 5, tracingID: UUID(high: 1, low: 2), warnings: ["careful"])
        encoder.ready(ResponseHead(stream: 1), into: &out)
        encoder.supported(cqlVersion: "3.4.5", ResponseHead(stream: 2), into: &out)
        encoder.authenticate("PasswordAuthenticator", ResponseHead(stream: 3), into: &out)
        encoder.authSuccess(nil, ResponseHead(stream: 4), into: &out)
        encoder.result(.rows(rows), head, changedMetadataID: [4, 4], into: &out)
        encoder.result(.setKeyspace("demo"), head, into: &out)
        encoder.result(
            .schemaChange(SchemaChange(kind: .created, target: .table, keyspace: "demo", name: "t")), head, into: &out)
        encoder.void(stream: 6, into: &out)
        encoder.prepared(prepared, head, into: &out)
        for error in errors { encoder.error(error, head, into: &out) }
        encoder.event(.status(.up, ServerEvent.Endpoint(address: [127, 0, 0, 1], port: 9042)), into: &out)
        encoder.event(.schema(SchemaChange(kind: .dropped, target: .keyspace, keyspace: "demo", name: "")), into: &out)
        return out.toArray()
    }

    static let errors: [ServerError] = [
        .invalid("unconfigured table t"),
        .syntax("line 1:0 no viable alternative"),
        ServerError(.unavailable, "a", detail: .unavailable(consistency: .quorum, required: 2, alive: 1)),
        ServerError(
            .writeTimeout, "b", detail: .writeTimeout(consistency: .one, received: 0, required: 1, writeType: "CAS")),
        ServerError(
            .readTimeout, "c", detail: .readTimeout(consistency: .one, received: 0, required: 1, dataPresent: true)),
        ServerError(
            .readFailure, "d",
            detail: .readFailure(consistency: .all, received: 1, required: 3, failures: 2, dataPresent: false)),
        ServerError(
            .writeFailure, "e",
            detail: .writeFailure(consistency: .all, received: 1, required: 3, failures: 2, writeType: "BATCH")),
        ServerError(
            .functionFailure, "f",
            detail: .functionFailure(keyspace: "k", function: "f", argumentTypes: ["int", "text"])),
        ServerError(.alreadyExists, "g", detail: .alreadyExists(keyspace: "k", table: "t")),
        ServerError(.unprepared, "h", detail: .unprepared(id: [1, 2, 3])),
    ]

    /// Returns the frames of `input`, each as header and body, until more bytes are needed.
    static func frames(_ input: [UInt8], _ decoder: inout FrameDecoder) throws -> [(FrameHeader, [UInt8])] {
        try input.withUnsafeBytes { bytes in
            var found: [(FrameHeader, [UInt8])] = []
            var consumed = 0
            while let frame = try decoder.next(bytes, consumed: &consumed) {
                found.append((frame.header, [UInt8](frame.body)))
            }
            return found
        }
    }

    /// Feeds a decoder piece by piece, as a connection does.
    /// - Parameters:
    ///   - piece: returns the size of the next piece.
    ///   - arrived: called after each piece with the bytes that the decoder has not consumed.
    /// - Returns: the bytes not consumed after the last piece.
    @discardableResult static func feed(
        _ wire: [UInt8], to decoder: inout FrameDecoder, piece: () -> Int, arrived: ([UInt8]) -> Void = { _ in },
        _ visit: (Frame) throws -> Void
    ) throws -> [UInt8] {
        var buffer: [UInt8] = []
        var offset = 0
        while offset < wire.count {
            let end = min(offset + piece(), wire.count)
            buffer += wire[offset..<end]
            offset = end
            var consumed = 0
            try buffer.withUnsafeBytes { bytes in
                while let frame = try decoder.next(bytes, consumed: &consumed) { try visit(frame) }
            }
            buffer.removeFirst(consumed)
            arrived(buffer)
        }
        return buffer
    }
}
