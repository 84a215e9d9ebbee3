import DataModel
import NativeProtocol
import Primitives
import ScriptedServer
import Synchronization
import Testing

@testable import Client

@Suite("Client") struct ConnectionTests {
    static let metadata = ResultMetadata(columns: [ColumnSpec(keyspace: "k", table: "t", name: "n", type: .int)])

    static func rows(_ numbers: Range<Int32>, next: [UInt8]? = nil) -> StatementResult {
        var out = ByteWriter()
        for number in numbers {
            out.writeBE(Int32(4))
            out.writeBE(number)
        }
        return .rows(ResultRows(metadata: metadata, rowCount: numbers.count, cells: out.toArray(), pagingState: next))
    }

    func options(_ server: ScriptedServer) -> ConnectionOptions {
        var options = ConnectionOptions()
        options.port = server.port
        options.requestTimeout = .seconds(5)
        return options
    }

    @Test(
        "it negotiates version 5 if the server supports it, else 4", arguments: [true, false],
        [FrameCompression.none, .lz4])
    func versions(speaksV5: Bool, compression: FrameCompression) throws {
        let server = ScriptedServer(speaksV5: speaksV5) { text, _, _ in
            .result(text.count > 1000 ? Self.rows(0..<50_000) : Self.rows(0..<3))
        }
        defer { server.stop() }
        var options = options(server)
        options.compression = compression
        let connection = try Connection.open(options)
        #expect(connection.version == (speaksV5 ? .v5 : .v4))
        #expect(try connection.rows("SELECT").rows().map { $0.integer(0) } == [0, 1, 2])
        #expect(try connection.rows("SELECT " + String(repeating: "x", count: 200_000)).rowCount == 50_000)
    }

    @Test("paging reads all pages in order") func paging() throws {
        let page = Atomic<Int>(0)
        let server = ScriptedServer { _, _, _ in
            let number = Int32(page.add(1, ordering: .relaxed).oldValue)
            return .result(Self.rows(number * 10..<number * 10 + 10, next: number < 2 ? [1] : nil))
        }
        defer { server.stop() }
        let connection = try Connection.open(options(server))
        #expect(try connection.rows("SELECT").rows().map { $0.integer(0) } == (0..<30).map { Int64($0) })
    }

    @Test("errors, timeouts and closed connections are distinguished") func failures() throws {
        let server = ScriptedServer { text, _, _ in
            switch text {
            case "bad":
                .error(ServerError(.unavailable, "no", detail: .unavailable(consistency: .all, required: 3, alive: 1)))
            case "silent": .silence
            default: .hangUp
            }
        }
        defer { server.stop() }
        var options = options(server)
        options.requestTimeout = .milliseconds(200)
        let connection = try Connection.open(options)
        #expect(
            throws: ClientError.server(
                ServerError(.unavailable, "no", detail: .unavailable(consistency: .all, required: 3, alive: 1)))
        ) {
            _ = try connection.query("bad")
        }
        #expect(throws: ClientError.timeout(address: connection.address, after: .milliseconds(200))) {
            _ = try connection.query("silent")
        }
        #expect(throws: ClientError.self) { _ = try connection.query("bye") }
        server.stop()
        var nobody = ConnectionOptions()
        nobody.port = 1
        #expect(throws: ClientError.self) { _ = try Connection.open(nobody) }
    }

    @Test("it authenticates when the server asks") func authentication() throws {
        let server = ScriptedServer(password: "secret") { _, _, _ in .result(.void) }
        defer { server.stop() }
        var options = options(server)
        #expect(throws: ClientError.self) { _ = try Connection.open(options) }
        options.user = "ann"
        options.password = "wrong"
        #expect(throws: ClientError.server(ServerError(.badCredentials, "no"))) { _ = try Connection.open(options) }
        options.password = "secret"
        #expect(throws: Never.self) { _ = try Connection.open(options).query("x") }
    }

    @Test("many large requests and answers do not deadlock") func pipelining() throws {
        let server = ScriptedServer { _, _, _ in .result(Self.rows(0..<20_000)) }
        defer { server.stop() }
        let connection = try Connection.open(options(server))
        let text = String(repeating: "y", count: 100_000)
        for stream in 0..<Int16(100) {
            connection.enqueue { encoder, out in encoder.query(text, QueryOptions(), stream: stream, into: &out) }
        }
        try connection.flush()
        var seen: Set<Int16> = []
        while seen.count < 100 {
            while let frame = try connection.nextBuffered() { seen.insert(frame.header.stream) }
            if seen.count < 100 { try connection.fill() }
        }
        #expect(seen == Set(0..<100))
    }
}
