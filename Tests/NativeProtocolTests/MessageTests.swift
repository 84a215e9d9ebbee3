import DataModel
import Fixtures
import Primitives
import Testing

@testable import NativeProtocol

@Suite("Messages") struct MessageTests {
    /// Decodes the request of one frame and passes both to `check`.
    func decode(_ wire: [UInt8], _ check: (Request, RequestDecoder, UnsafeRawBufferPointer) throws -> Void) throws {
        try wire.withUnsafeBytes { bytes in
            var frames = FrameDecoder()
            var consumed = 0
            let frame = try #require(try frames.next(bytes, consumed: &consumed))
            var decoder = RequestDecoder()
            let request = try decoder.decode(frame)
            try check(request, decoder, frame.body)
        }
    }

    @Test("EXECUTE of v4, byte by byte") func goldenExecute() throws {
        // id 0102, ONE, flags values|page size|timestamp, two values, 100 rows, timestamp 1
        let body = bytes("0002 0102 0001 25 0003 00000004 0000002a ffffffff fffffffe 00000064 0000000000000001")
        try decode(frame(.execute, body)) { request, decoder, body in
            guard case .execute(let id, nil) = request else { throw ServerError.invalid("\(request)") }
            #expect(Array(body[id]) == [1, 2])
            #expect(decoder.options.consistency == .one)
            #expect(decoder.options.values.entries == [.value(0..<4), .null, .unset])
            #expect(decoder.options.values.bytes == [0, 0, 0, 42])
            #expect(decoder.options.pageSize == 100)
            #expect(decoder.options.defaultTimestamp == 1)
        }
    }

    /// Returns a v4 request of stream 3.
    func frame(_ opcode: Opcode, flags: UInt8 = 0, _ body: [UInt8]) -> [UInt8] {
        [4, flags, 0, 3, opcode.rawValue, 0, 0, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
    }

    @Test("query options round trip", arguments: ProtocolVersion.allCases) func options(version: ProtocolVersion) throws
    {
        let sent = Samples.options()
        var out = ByteWriter()
        RequestEncoder(version: version).query("SELECT 1", sent, stream: 4, into: &out)
        try decode(out.toArray()) { request, decoder, body in
            guard case .query(let text) = request else { throw ServerError.invalid("\(request)") }
            #expect(try RequestDecoder.text(body, text) == "SELECT 1")
            let read = decoder.options
            #expect(read.values.entries == sent.values.entries)
            #expect(read.values.bytes == sent.values.bytes)
            #expect(read.skipMetadata)
            #expect(read.consistency == .localQuorum)
            #expect(read.pageSize == 5000)
            #expect(read.pagingState == [0xAA])
            #expect(read.serialConsistency == .localSerial)
            #expect(read.defaultTimestamp == sent.defaultTimestamp)
            #expect(read.keyspace == (version == .v5 ? "demo" : nil))
            #expect(read.nowInSeconds == (version == .v5 ? 1_600_000_000 : nil))
        }
    }

    @Test("named values keep their names") func named() throws {
        var sent = QueryOptions()
        sent.values.appendName("a")
        sent.values.append([1])
        sent.values.appendName("b")
        sent.values.appendNull()
        var out = ByteWriter()
        RequestEncoder(version: .v4).query("SELECT", sent, stream: 4, into: &out)
        try decode(out.toArray()) { _, decoder, _ in
            #expect(decoder.options.values.names == ["a", "b"])
            #expect(decoder.options.values.entries == [.value(0..<1), .null])
        }
    }

    @Test("a batch keeps its statements apart", arguments: ProtocolVersion.allCases) func batch(
        version: ProtocolVersion
    ) throws {
        var first = ValueList()
        first.append([1])
        var second = ValueList()
        second.append([2, 2])
        second.appendUnset()
        var out = ByteWriter()
        RequestEncoder(version: version).batch(
            .counter, Samples.prepared, [first, second], Samples.options(), stream: 1, into: &out)
        try decode(out.toArray()) { request, decoder, body in
            #expect(request == .batch)
            #expect(decoder.batch.kind == .counter)
            #expect(decoder.batch.count == 2)
            #expect(decoder.batch.statements[1].values.entries == [.value(0..<2), .unset])
            guard case .prepared(let id) = decoder.batch.statements[1].source else { throw ServerError.invalid("text") }
            #expect(Array(body[id]) == [7, 7])
            #expect(decoder.options.serialConsistency == .localSerial)
        }
    }

    @Test("a custom payload is skipped") func payload() throws {
        // payload {"k": 0102}, text "X", ONE, no flags
        let body = bytes("0001 0001 6b 00000002 0102 00000001 58 0001 00")
        try decode(frame(.query, flags: FrameFlag.customPayload, body)) { request, _, body in
            guard case .query(let text) = request else { throw ServerError.invalid("\(request)") }
            #expect(try RequestDecoder.text(body, text) == "X")
        }
    }

    @Test("truncated requests are refused with the offset", arguments: ProtocolVersion.allCases)
    func truncation(version: ProtocolVersion) throws {
        var frames = FrameDecoder()
        for (header, body) in try Samples.frames(Samples.requests(version), &frames) {
            for length in 0..<body.count {
                let cut = Array(body[..<length])
                cut.withUnsafeBytes { bytes in
                    var decoder = RequestDecoder()
                    do throws(ServerError) {
                        _ = try decoder.decode(Frame(header: header, body: bytes))
                        Issue.record("\(header.rawOpcode) cut at \(length) of \(body.count) accepted")
                    } catch {
                        #expect(error.code == .protocolError)
                    }
                }
            }
        }
    }

    @Test("responses round trip", arguments: ProtocolVersion.allCases) func responses(version: ProtocolVersion) throws {
        var frames = FrameDecoder(direction: .responses)
        var errors: [ServerError] = []
        var kinds: [String] = []
        for (header, body) in try Samples.frames(Samples.responses(version), &frames) {
            let received = try body.withUnsafeBytes { try ResponseDecoder.decode(Frame(header: header, body: $0)) }
            if header.stream == 5 {
                #expect(received.tracingID == UUID(high: 1, low: 2))
                #expect(received.warnings == ["careful"])
            }
            switch received.response {
            case .ready: kinds.append("ready")
            case .authenticate(let name): kinds.append(name)
            case .authChallenge: kinds.append("challenge")
            case .authSuccess(let token): kinds.append("success \(token == nil)")
            case .supported(let options): kinds.append("supported \(options.keys.sorted())")
            case .error(let error): errors.append(error)
            case .rows(let rows, let changed):
                #expect(rows.cells == Samples.rows.cells)
                #expect(rows.pagingState == [1, 2, 3])
                #expect(rows.metadata.columns[1].type == .map(.text, .list(.int)))
                #expect(changed == (version == .v5 ? [4, 4] : nil))
                kinds.append("rows \(rows.rowCount)")
            case .void: kinds.append("void")
            case .setKeyspace(let name): kinds.append("use \(name)")
            case .prepared(let statement):
                #expect(statement.id == [7, 7])
                #expect(statement.markers == Samples.prepared.markers)
                #expect(statement.partitionKeyMarkers == [0])
                #expect(statement.result?.columns.count == 3)
                kinds.append("prepared")
            case .schemaChange(let change): kinds.append("\(change?.kind.rawValue ?? "?") \(change?.name ?? "?")")
            case .event(let event): kinds.append(event?.kind.rawValue ?? "?")
            }
        }
        #expect(errors == Samples.errors)
        #expect(
            kinds == [
                "ready", "supported [\"COMPRESSION\", \"CQL_VERSION\", \"PROTOCOL_VERSIONS\"]", "PasswordAuthenticator",
                "success true",
                "rows 1", "use demo", "CREATED t", "void", "prepared", "STATUS_CHANGE", "SCHEMA_CHANGE",
            ])
    }

    @Test("truncated responses are refused", arguments: ProtocolVersion.allCases) func cutResponses(
        version: ProtocolVersion
    ) throws {
        var frames = FrameDecoder(direction: .responses)
        for (header, body) in try Samples.frames(Samples.responses(version), &frames) {
            for length in 0..<body.count {
                Array(body[..<length]).withUnsafeBytes { bytes in
                    do throws(ServerError) {
                        let read = try ResponseDecoder.decode(Frame(header: header, body: bytes))
                        // v5 may add a count after a write timeout of a conditional write; older servers leave it out.
                        guard case .error(let error) = read.response, error.code == .writeTimeout,
                            length >= body.count - 2
                        else {
                            Issue.record("\(header.rawOpcode) cut at \(length) of \(body.count) accepted")
                            return
                        }
                    } catch {
                        #expect(error.code == .protocolError)
                    }
                }
            }
        }
    }

    @Test("rows without metadata use the statement's") func skippedMetadata() throws {
        var encoder = ResponseEncoder(version: .v5)
        var out = ByteWriter()
        encoder.result(.rows(Samples.rows), ResponseHead(stream: 1), skipMetadata: true, into: &out)
        let wire = out.toArray()
        #expect(
            hex(wire) == "850000010800000026" + "00000002" + "00000006" + "00000003" + "00000003010203" + "00000001"
                + hex(Samples.rows.cells))
        var frames = FrameDecoder(direction: .responses)
        let (header, body) = try #require(try Samples.frames(wire, &frames).first)
        body.withUnsafeBytes { bytes in
            let frame = Frame(header: header, body: bytes)
            #expect(throws: ServerError.self) { _ = try ResponseDecoder.decode(frame) }
            #expect(throws: Never.self) { _ = try ResponseDecoder.decode(frame, known: Samples.metadata) }
        }
    }

    @Test("a message longer than a string may be is cut at a character boundary") func longMessage() throws {
        var encoder = ResponseEncoder(version: .v4)
        var out = ByteWriter()
        encoder.error(.invalid(String(repeating: "é", count: 40_000)), ResponseHead(stream: 1), into: &out)
        var frames = FrameDecoder(direction: .responses)
        let (header, body) = try #require(try Samples.frames(out.toArray(), &frames).first)
        let read = try body.withUnsafeBytes { try ResponseDecoder.decode(Frame(header: header, body: $0)) }
        guard case .error(let error) = read.response else { throw ServerError.invalid("no error") }
        #expect(error.message.utf8.count == 65_534)
    }
}
