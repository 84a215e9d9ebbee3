import Client
import DataModel
import Fixtures
import Glibc
import NativeProtocol
import Primitives
import ScriptedServer
import Synchronization
import Testing

@testable import BulkLoader

/// A table in memory behind the native protocol: it describes its schema, stores rows, and fails on request.
final class TableServer: Sendable {
    struct State {
        var rows: [Int32: [[UInt8]?]] = [:]
        var requests = 0
        var created: String?
    }

    let state = Mutex(State())
    /// Every this many inserts the server answers Overloaded, or closes the connection.
    let overloadEvery: Int
    let hangUpEvery: Int
    nonisolated(unsafe) var server: ScriptedServer?

    init(overloadEvery: Int = 0, hangUpEvery: Int = 0) {
        self.overloadEvery = overloadEvery
        self.hangUpEvery = hangUpEvery
        server = ScriptedServer { [unowned self] text, values, isPrepare in answer(text, values, isPrepare) }
    }

    static func rows(_ columns: [(String, CQLType)], _ values: [[[UInt8]?]]) -> StatementResult {
        let specs = columns.map { ColumnSpec(keyspace: "k", table: "t", name: $0.0, type: $0.1) }
        var cells = ByteWriter()
        for value in values.flatMap({ $0 }) {
            cells.writeBE(Int32(value?.count ?? -1))
            if let value { cells.write(value) }
        }
        return .rows(
            ResultRows(metadata: ResultMetadata(columns: specs), rowCount: values.count, cells: cells.toArray()))
    }

    func answer(_ text: String, _ values: ValueList, _ isPrepare: Bool) -> ScriptedAnswer {
        if text.hasPrefix("CREATE") {
            state.withLock { $0.created = text }
            return .result(.void)
        }
        if text.contains("system_schema.keyspaces") {
            return .result(Self.rows([("keyspace_name", .text)], [[Array("k".utf8)]]))
        }
        if text.contains("system_schema.columns") {
            func row(_ name: String, _ type: String, _ kind: String, _ position: Int32) -> [[UInt8]?] {
                [Array(name.utf8), Array(type.utf8), Array(kind.utf8), CQLType.bigEndian(position)]
            }
            return .result(
                Self.rows(
                    [("column_name", .text), ("type", .text), ("kind", .text), ("position", .int)],
                    [
                        row("id", "int", "partition_key", 0), row("v", "text", "regular", -1),
                        row("w", "double", "regular", -1),
                    ]))
        }
        if isPrepare {
            let markers = ["id", "v", "w"].map {
                ColumnSpec(keyspace: "k", table: "t", name: $0, type: $0 == "id" ? .int : $0 == "v" ? .text : .double)
            }
            return .prepared(
                PreparedDescription(
                    id: [1], resultMetadataID: [2], markers: markers, partitionKeyMarkers: [0], result: nil))
        }
        return state.withLock { state in
            state.requests += 1
            if overloadEvery > 0, state.requests % overloadEvery == 0 {
                return .error(ServerError(.overloaded, "busy"))
            }
            if hangUpEvery > 0, state.requests % hangUpEvery == 0 { return .hangUp }
            guard let key = values.array(0), key.count == 4 else { return .error(.invalid("no key")) }
            if key == [0, 0, 0, 13] { return .error(.invalid("unlucky")) }
            let id = Int32(bitPattern: key.reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
            state.rows[id] = [values.array(1), values.array(2)]
            return .result(.void)
        }
    }
}

@Suite("Loader", .serialized) struct LoadTests {
    func write(_ text: String, _ path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        Array(text.utf8).withUnsafeBytes { bytes in
            var written = 0
            while written < bytes.count {
                written += max(
                    0, Glibc.write(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written))
            }
        }
        close(descriptor)
    }

    func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }

    func options(_ table: TableServer, _ file: String) -> LoadOptions {
        var options = LoadOptions(files: [file], keyspace: "k", table: "t")
        options.connection.port = table.server?.port ?? 0
        options.connections = 3
        options.inFlight = 50
        return options
    }

    func csv(_ count: Int) -> String {
        var text = "id,v,w\n"
        for id in 0..<count where id != 13 { text += "\(id),\"value, \(id)\",\(Double(id) / 2)\n" }
        return text
    }

    @Test(
        "every row arrives despite overloads and closed connections",
        arguments: [(0, 0), (37, 0), (0, 2111), (97, 3001)])
    func rows(overload: Int, hangUp: Int) throws {
        try withTemporaryDirectory { directory in
            let table = TableServer(overloadEvery: overload, hangUpEvery: hangUp)
            defer { table.server?.stop() }
            write(csv(20_000), directory + "/a.csv")
            let report = try runLoad(options(table, directory + "/a.csv"))
            #expect(report.refused == 0)
            #expect(report.rows == 19_999)
            table.state.withLock { state in
                #expect(state.rows.count == 19_999)
                #expect(state.rows[17]?[0] == Array("value, 17".utf8))
                #expect(state.rows[17]?[1] == CQLType.bigEndian(8.5.bitPattern))
            }
            #expect(read(directory + "/a.csv.auspex-load") == nil)
            #expect(read(directory + "/a.csv.rejected") == nil)
        }
    }

    @Test("records that do not fit are rejected with line and reason") func rejects() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            write("id,v,w\n1,\"two\nlines\",NA\ntwo,x,1\n3,x\n\n13,x,\n,x,1\n4,\"\",2\n5,,1", directory + "/a.csv")
            var options = options(table, directory + "/a.csv")
            options.nulls = ["NA"]
            let report = try runLoad(options)
            #expect(report.rows == 3)
            #expect(report.refused == 4)
            let lines = try #require(read(directory + "/a.csv.rejected")).split(separator: "\n").sorted().map {
                $0.split(separator: "\t")
            }
            #expect(lines.map { $0[0] } == ["4", "5", "7", "8"])
            #expect(lines[0][1].contains("column id") && lines[0][2] == "two,x,1")
            #expect(lines[1][1] == "2 fields where 3 are expected")
            #expect(lines[2][1] == "Invalid: unlucky")
            #expect(lines[3][1] == "key column id is empty")
            table.state.withLock { state in
                #expect(state.rows[1] == [Array("two\nlines".utf8), nil])
                #expect(state.rows[4]?[0] == [])
                #expect(state.rows[5] == [nil, CQLType.bigEndian(1.0.bitPattern)])
            }
            options.maxErrors = 2
            #expect(throws: LoadError.self) { _ = try runLoad(options) }
        }
    }

    @Test("an interrupted load resumes after what was acknowledged") func resume() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            let text = csv(50_000)
            write(text, directory + "/a.csv")
            let source = try RecordSource(directory + "/a.csv", framing: .csv(CSVDialect(delimiter: UInt8(ascii: ","))))
            _ = try source.takeFirst()
            let first = try #require(try source.next())
            let identity = source.identity
            let rows = first.bytes.count { $0 == 0x0A }
            let state = LoadState(
                size: try #require(identity.size), modified: identity.modified, target: "k.t id,v,w",
                offset: first.endOffset,
                line: first.endLine, rows: rows)
            write(state.text, directory + "/a.csv.auspex-load")
            let report = try runLoad(options(table, directory + "/a.csv"))
            #expect(report.resumed == rows)
            #expect(report.rows + rows == 49_999)
            #expect(table.state.withLock { $0.rows.count } == report.rows)
            #expect(table.state.withLock { $0.rows[49_999] } != nil)
            #expect(read(directory + "/a.csv.auspex-load") == nil)

            // The state of another load is ignored.
            write(state.text.replacing("k.t id", with: "k.other id"), directory + "/a.csv.auspex-load")
            let anew = try runLoad(options(table, directory + "/a.csv"))
            #expect(anew.rows == 49_999)
        }
    }

    @Test("a load that stops within its first chunk resumes after the header") func resumeAtTheStart() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            write(csv(20_000).replacing("\n3,", with: "\nthree,"), directory + "/a.csv")
            var options = options(table, directory + "/a.csv")
            options.maxErrors = 0
            options.connections = 1
            #expect(throws: LoadError.tooManyErrors(1)) { _ = try runLoad(options) }
            options.maxErrors = nil
            let report = try runLoad(options)
            #expect(report.refused == 1 && report.resumed == 0 && report.rows == 19_998)
        }
    }

    @Test("compressed files are read directly, and damaged ones are reported") func gzip() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            write(csv(5_000), directory + "/a.csv")
            #expect(system("gzip -k \(directory)/a.csv") == 0)
            let report = try runLoad(options(table, directory + "/a.csv.gz"))
            #expect(report.rows == 4_999)
            #expect(truncate(directory + "/a.csv.gz", 2_000) == 0)
            #expect(throws: LoadError.self) { _ = try runLoad(options(table, directory + "/a.csv.gz")) }
        }
    }

    @Test("JSON lines are matched to columns by name") func jsonLines() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            write(
                #"{"id": 1, "v": "a\"b", "w": 1.5}"# + "\n" + #"{"w":null,"v":{"x":1},"id":2}"# + "\n\n"
                    + #"{"id":3,"nope":1}"# + "\n"
                    + #"{"v":"no key"}"# + "\n" + #"{"id":4"# + "\n", directory + "/a.jsonl")
            let report = try runLoad(options(table, directory + "/a.jsonl"))
            #expect(report.rows == 2)
            #expect(report.refused == 3)
            table.state.withLock { state in
                #expect(state.rows[1] == [Array("a\"b".utf8), CQLType.bigEndian(1.5.bitPattern)])
                #expect(state.rows[2] == [Array(#"{"x":1}"#.utf8), nil])
            }
        }
    }

    @Test("a created table has types that fit all the data") func create() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            write("ID,v,w\n1,x,1\n2,y,NA\n3,z,2.5\n", directory + "/a.csv")
            var options = options(table, directory + "/a.csv")
            options.creates = true
            options.nulls = ["NA"]
            options.key = "(id), v"
            let report = try runLoad(options)
            #expect(
                report.createStatement
                    == "CREATE TABLE IF NOT EXISTS k.t (id int, v text, w double, PRIMARY KEY ((id), v))")
            #expect(table.state.withLock { $0.created } == report.createStatement)
            #expect(report.rows == 3)
        }
    }

    @Test("a dry run sends nothing") func dryRun() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            write(csv(100) + "x,y,z\n", directory + "/a.csv")
            var options = options(table, directory + "/a.csv")
            options.isDryRun = true
            let report = try runLoad(options)
            #expect(report.rows == 99)
            #expect(report.refused == 1)
            #expect(table.state.withLock { $0.requests } == 0)
        }
    }

    @Test("mismatches of file and table are refused before anything is sent") func mismatches() throws {
        try withTemporaryDirectory { directory in
            let table = TableServer()
            defer { table.server?.stop() }
            for (text, part) in [
                ("id,nope\n1,2\n", "no such column"), ("v,w\na,1\n", "primary key"), ("id,id\n1,2\n", "two fields"),
                ("", "empty"),
            ] {
                write(text, directory + "/a.csv")
                do {
                    _ = try runLoad(options(table, directory + "/a.csv"))
                    Issue.record("accepted: \(text)")
                } catch let error as LoadError {
                    #expect(error.message.contains(part), "\(error.message)")
                }
            }
            #expect(throws: LoadError.self) { _ = try runLoad(options(table, directory + "/none.csv")) }
            #expect(throws: LoadError.self) { _ = try runLoad(options(table, directory)) }
        }
    }
}
