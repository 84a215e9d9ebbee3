import Client
import DataModel
import Fixtures
import Glibc
import NativeProtocol
import Primitives
import Testing

@testable import Shell

/// Answers statements from a table and records what was asked.
final class ScriptedBackend: QueryBackend {
    let identity = BackendIdentity(
        clusterName: "Test", address: "here:1", releaseVersion: "4.0", cqlVersion: "3.4.5", protocolVersion: "5")
    var answers: [String: [StatementResult]] = [:]
    var asked: [(text: String, options: QueryOptions)] = []
    var refusedValue: [UInt8]?

    func run(_ statement: String, _ options: QueryOptions, tracing: Bool) throws(ClientError) -> StatementAnswer {
        asked.append((statement, options))
        if let refusedValue, !options.values.isEmpty, options.values.array(0) == refusedValue {
            throw .server(.invalid("refused"))
        }
        if statement.hasPrefix("INSERT") { return StatementAnswer(result: .void, warnings: [], tracingID: nil) }
        guard var list = answers[statement], !list.isEmpty else { throw .server(.invalid("unconfigured table x")) }
        let result = list.removeFirst()
        if !list.isEmpty { answers[statement] = list }
        return StatementAnswer(result: result, warnings: [], tracingID: nil)
    }

    func logIn(user: String, password: String) throws(ClientError) {}
    func close() {}
}

@Suite("Shell session") struct SessionTests {
    static func rows(_ columns: [(String, CQLType)], _ values: [[[UInt8]?]], next: [UInt8]? = nil) -> StatementResult {
        let specs = columns.map { ColumnSpec(keyspace: "k", table: "t", name: $0.0, type: $0.1) }
        var cells = ByteWriter()
        for value in values.flatMap({ $0 }) {
            cells.writeBE(Int32(value?.count ?? -1))
            if let value { cells.write(value) }
        }
        return .rows(
            ResultRows(
                metadata: ResultMetadata(columns: specs), rowCount: values.count, cells: cells.toArray(),
                pagingState: next))
    }

    static func text(_ string: String) -> [UInt8] { Array(string.utf8) }
    static func int(_ number: Int32) -> [UInt8] { CQLType.bigEndian(number) }

    /// Returns the output of a session, which is written to a file.
    func output(_ backend: ScriptedBackend, _ body: (ShellSession) -> Void) throws -> String {
        var options = ShellOptions()
        options.colour = false
        let session = ShellSession(backend, options, isInteractive: false)
        return try withTemporaryDirectory { directory in
            session.run("CAPTURE '\(directory)/output'")
            body(session)
            session.run("CAPTURE OFF")
            let read = try FileText.openForReading(directory + "/output")
            defer { close(read) }
            return String(decoding: FileText.read(read), as: UTF8.self)
        }
    }

    @Test("a table is drawn as in cqlsh, all pages as one") func table() throws {
        let backend = ScriptedBackend()
        let columns: [(String, CQLType)] = [("name", .text), ("n", .int), ("tags", .set(.text))]
        let tags: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 1, 0x78]
        backend.answers["SELECT x"] = [
            Self.rows(columns, [[Self.text("漢字"), Self.int(-5), tags], [Self.text("a\nb"), nil, nil]], next: [1]),
            Self.rows(columns, [[Self.text("c"), Self.int(12345), nil]]),
        ]
        let shown = try output(backend) { $0.feed(Array("SELECT x;\n".utf8)) }
        #expect(
            shown == """

                 name | n    | tags\u{20}
                ------+------+-------
                 漢字 |   -5 | {'x'}
                 a\\nb | null |  null
                    c | 12345 |  null

                (3 rows)

                """)
        #expect(backend.asked.count == 2)
        #expect(backend.asked[1].options.pagingState == [1])
    }

    @Test("EXPAND lists columns") func expanded() throws {
        let backend = ScriptedBackend()
        backend.answers["SELECT x"] = [
            Self.rows([("a", .int), ("longer", .text)], [[Self.int(1), Self.text("one")], [Self.int(2), nil]])
        ]
        let shown = try output(backend) { session in
            session.isExpanded = true
            session.run("SELECT x")
        }
        #expect(
            shown == """

                @ Row 1
                --------+------
                 a      | 1
                 longer | one

                @ Row 2
                --------+------
                 a      | 2
                 longer | null

                (2 rows)

                """)
    }

    @Test("settings reach the server") func settings() throws {
        let backend = ScriptedBackend()
        backend.answers["SELECT x"] = [Self.rows([("a", .int)], [])]
        let shown = try output(backend) { session in
            session.feed(Array("CONSISTENCY QUORUM\nSERIAL CONSISTENCY LOCAL_SERIAL\nSELECT x;\nnonsense;\n".utf8))
            #expect(session.hasFailed)
        }
        #expect(backend.asked[0].options.consistency == .quorum)
        #expect(backend.asked[0].options.serialConsistency == .localSerial)
        #expect(
            shown.hasPrefix(
                "Consistency level set to QUORUM.\nSerial consistency level set to LOCAL_SERIAL.\n\n a\n---\n\n(0 rows)\n"
            ))
    }

    @Test("errors have the wording of cqlsh") func errors() {
        #expect(
            ShellError.client(.server(.invalid("unconfigured table x"))).text
                == "InvalidRequest: Error from server: code=2200 [Invalid query] message=\"unconfigured table x\"")
    }

    @Test("COPY TO and COPY FROM round trip") func copy() throws {
        let backend = ScriptedBackend()
        let schema =
            "SELECT column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = 'k' AND table_name = 't'"
        let described = Self.rows(
            [("column_name", .text), ("type", .text), ("kind", .text), ("position", .int)],
            [
                [Self.text("v"), Self.text("text"), Self.text("regular"), Self.int(-1)],
                [Self.text("id"), Self.text("int"), Self.text("partition_key"), Self.int(0)],
            ])
        backend.answers[schema] = [described]
        let values = ["plain", "with, comma", "quo\"te", "back\\slash", "two\nlines", ""]
        var rows: [[[UInt8]?]] = values.enumerated().map { [Self.int(Int32($0.offset)), Self.text($0.element)] }
        rows.append([Self.int(99), nil])
        backend.answers["SELECT id, v FROM k.t"] = [Self.rows([("id", .int), ("v", .text)], rows)]
        let path = "/tmp/shell-copy-\(getpid()).csv"
        defer { unlink(path) }
        _ = try output(backend) { session in
            session.run("COPY k.t TO '\(path)' WITH HEADER = true AND NULL = 'NA'")
            session.run("COPY k.t FROM '\(path)' WITH HEADER = true AND NULL = 'NA'")
            #expect(!session.hasFailed)
        }
        let inserts = backend.asked.filter { $0.text.hasPrefix("INSERT") }
        #expect(inserts.first?.text == "INSERT INTO k.t (id, v) VALUES (?, ?)")
        #expect(inserts.map { $0.options.values.array(0) } == rows.map { $0[0] })
        #expect(inserts.map { $0.options.values.array(1) } == rows.map { $0[1] })
        #expect(inserts.last?.options.values.entries.last == .null)

        backend.refusedValue = Self.int(3)
        _ = try output(backend) { session in
            session.run("COPY k.t FROM '\(path)' WITH HEADER = true AND NULL = 'NA'")
            #expect(session.hasFailed)
        }
    }

    @Test("COPY options are parsed, and errors have a reason") func copyOptions() throws {
        let copy = try CopyStatement(
            parsing: "COPY \"K\".t (a, \"B\") FROM 'f''1' WITH DELIMITER = '\\t' AND MAXROWS = -1 AND header = TRUE")
        #expect(copy.keyspace == "K")
        #expect(copy.table == "t")
        #expect(copy.columns == ["a", "B"])
        #expect(copy.target == .file("f'1"))
        #expect(copy.delimiter == 9)
        #expect(copy.maxRows == nil)
        #expect(copy.header)
        for bad in [
            "COPY", "COPY t", "COPY t TO", "COPY t TO file", "COPY t (a TO 'f'", "COPY t TO 'f' WITH X = 1",
            "COPY t TO 'f' WITH QUOTE = 'ab'", "COPY t TO STDIN",
        ] {
            #expect(throws: ShellError.self, "\(bad)") { _ = try CopyStatement(parsing: bad) }
        }
    }

    @Test("names are listed in columns, downwards") func columns() {
        #expect(ShellSession.inColumns(["a", "bb", "c", "d", "e"], width: 12) == "a   c   e\nbb  d\n")
    }
}
