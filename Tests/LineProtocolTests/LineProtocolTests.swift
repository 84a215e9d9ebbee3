import DataModel
import Primitives
import Testing

@testable import LineProtocol

@Suite("Line protocol") struct LineProtocolTests {
    /// Returns the lines of `text` when it arrives in pieces.
    func lines(_ text: [UInt8], pieces: [Int], limit: Int = 1 << 20) -> [String] {
        var splitter = LineSplitter(maxLineBytes: limit)
        var buffer: [UInt8] = []
        var found: [String] = []
        var offset = 0
        var piece = 0
        while offset < text.count {
            let size = min(pieces[piece % pieces.count], text.count - offset)
            piece += 1
            buffer += text[offset..<offset + size]
            offset += size
            var consumed = 0
            buffer.withUnsafeBytes { bytes in
                loop: while true {
                    switch splitter.next(bytes, consumed: &consumed) {
                    case .line(let range): found.append(String(decoding: bytes[range], as: UTF8.self))
                    case .tooLong: found.append("<too long>")
                    case .needMore: break loop
                    }
                }
            }
            buffer.removeFirst(consumed)
        }
        var consumed = 0
        buffer.withUnsafeBytes { bytes in
            if case .line(let range) = splitter.last(bytes, consumed: &consumed) {
                found.append("last:" + String(decoding: bytes[range], as: UTF8.self))
            }
        }
        return found
    }

    @Test("lines are the same whatever the sizes of the pieces", arguments: [[1], [2, 3], [7], [1000]]) func splitting(
        pieces: [Int]
    ) {
        let text = Array("a\r\n\nlonger line with words\r\nb\n\r\nend".utf8)
        #expect(lines(text, pieces: pieces) == ["a", "", "longer line with words", "b", "", "last:end"])
    }

    @Test("a line beyond the limit is reported once, and the next one is read", arguments: [[1], [10], [64], [500]])
    func tooLong(pieces: [Int]) {
        let text = Array(("ok\n" + String(repeating: "x", count: 300) + "\nafter\n").utf8)
        #expect(lines(text, pieces: pieces, limit: 64) == ["ok", "<too long>", "after"])
    }

    @Test("a statement of 20 MiB passes") func large() {
        let text = [UInt8](repeating: 0x61, count: 20 << 20) + [0x0A]
        var splitter = LineSplitter()
        var consumed = 0
        text.withUnsafeBytes { bytes in
            #expect(
                splitter.next(UnsafeRawBufferPointer(rebasing: bytes[..<(10 << 20)]), consumed: &consumed) == .needMore)
            #expect(splitter.next(bytes, consumed: &consumed) == .line(0..<20 << 20))
        }
    }

    func parse(_ text: String) throws -> String {
        try Array(text.utf8).withUnsafeBytes { bytes in
            switch try LineRequest.parse(bytes) {
            case .nothing: "nothing"
            case .statement(let range): "cql <" + String(decoding: bytes[range], as: UTF8.self) + ">"
            case .command(let command): "\(command)"
            }
        }
    }

    @Test("requests") func requests() throws {
        #expect(try parse("  \t") == "nothing")
        #expect(try parse("-- a comment") == "nothing")
        #expect(try parse(" SELECT 1 ; ;") == "cql <SELECT 1>")
        #expect(try parse("\\consistency local_quorum") == "consistency(Optional(DataModel.Consistency.localQuorum))")
        #expect(try parse("\\page 0") == "page(Optional(0))")
        #expect(
            try parse("\\prepare p INSERT INTO t (a) VALUES (?)")
                == "prepare(name: \"p\", statement: \"INSERT INTO t (a) VALUES (?)\")")
        #expect(try parse("\\execute p [1, \"x y\"]") == "execute(name: \"p\", values: Optional(\"[1, \\\"x y\\\"]\"))")
        #expect(try parse("\\login ann secret") == "login(user: \"ann\", password: \"secret\")")
        for bad in [
            "\\nonsense", "\\consistency MANY", "\\serial ONE", "\\page -1", "\\format xml", "\\prepare p",
            "\\login ann", "\\execute",
        ] {
            #expect(throws: ServerError.self, "\(bad)") { _ = try parse(bad) }
        }
    }

    let metadata = ResultMetadata(columns: [
        ColumnSpec(keyspace: "k", table: "t", name: "na\"me", type: .text),
        ColumnSpec(keyspace: "k", table: "t", name: "tz", type: .int),
        ColumnSpec(keyspace: "k", table: "t", name: "id", type: .uuid),
    ])

    func cells(_ values: [[UInt8]?]) -> [UInt8] {
        var out = ByteWriter()
        for value in values {
            out.writeBE(Int32(value?.count ?? -1))
            if let value { out.write(value) }
        }
        return out.toArray()
    }

    func text(_ body: (inout ByteWriter) -> Void) -> String {
        var out = ByteWriter()
        body(&out)
        return String(decoding: out.bytes, as: UTF8.self)
    }

    @Test("rows in the three formats") func formats() {
        let id = [UInt8](repeating: 0xAB, count: 16)
        let rows = ResultRows(
            metadata: metadata, rowCount: 2,
            cells: cells([Array("a\tb\n\\c\"".utf8), [0xFF, 0xFF, 0xFF, 0xFB], id, nil, nil, nil]), pagingState: [1])
        var writer = LineResponseWriter()
        let columns =
            #"C [{"name":"na\"me","type":"text"},{"name":"tz","type":"int"},{"name":"id","type":"uuid"}]"# + "\n"
        let uuid = "abababab-abab-abab-abab-abababababab"
        #expect(
            text { writer.answer(.rows(rows), warnings: ["two\nlines"], elapsed: .microseconds(449), into: &$0) }
                == columns + #"R ["a\tb\n\\c\"",-5,"\#(uuid)"]"#
                + "\nR [null,null,null]\nW two lines\n> \\next continues\n. 2 rows in 0.4 ms\n")
        writer.format = .object
        writer.showsTimes = false
        #expect(
            text { writer.rows(rows, into: &$0) }
                == #"R {"na\"me":"a\tb\n\\c\"","tz":-5,"id":"\#(uuid)"}"# + "\n"
                + #"R {"na\"me":null,"tz":null,"id":null}"# + "\n")
        writer.format = .tsv
        #expect(text { writer.rows(rows, into: &$0) } == #"R a\tb\n\\c""# + "\t-5\t\(uuid)\nR \\N\t\\N\t\\N\n")
        #expect(text { writer.answer(.rows(rows), elapsed: .zero, into: &$0) }.hasSuffix(". 2 rows\n"))
    }

    @Test("the last line reports the outcome of a statement") func endings() {
        let writer = LineResponseWriter()
        let applied = ResultMetadata(columns: [ColumnSpec(keyspace: "k", table: "t", name: "[applied]", type: .boolean)]
        )
        func ending(_ result: StatementResult) -> String { text { writer.answer(result, elapsed: .zero, into: &$0) } }
        #expect(ending(.void) == ". applied\n")
        #expect(ending(.rows(ResultRows(metadata: applied, rowCount: 1, cells: cells([[1]])))) == ". applied\n")
        #expect(ending(.rows(ResultRows(metadata: applied, rowCount: 1, cells: cells([[0]])))) == ". not applied\n")
        #expect(ending(.setKeyspace("Mixed")) == ". using \"Mixed\"\n")
        #expect(
            ending(.schemaChange(SchemaChange(kind: .created, target: .table, keyspace: "k", name: "t")))
                == ". created table k.t\n")
        #expect(
            text { writer.error(.syntax("line 1:0\nno viable"), into: &$0) }
                == "! 2000 SyntaxError: line 1:0 no viable\n")
        #expect(text { writer.error(ServerError(.protocolError, "x"), into: &$0) } == "! 000A ProtocolError: x\n")
    }

    @Test("truncated cells are read as nulls and do not crash") func damagedCells() {
        let rows = ResultRows(metadata: metadata, rowCount: 1, cells: [0, 0, 0, 9, 1])
        #expect(text { LineResponseWriter().rows(rows, into: &$0) } == "R [null,null,null]\n")
    }

    @Test("values of \\execute are bound by the markers' types") func binding() throws {
        let markers = metadata.columns
        let values = try LineBinding.values(#"["a", -5, null]"#, markers: markers)
        #expect(values.entries == [.value(0..<1), .value(1..<5), .null])
        #expect(values.bytes == [0x61, 0xFF, 0xFF, 0xFF, 0xFB])
        for bad in ["[1]", "{}", "[\"a\", \"b\", null]", "[\"a\", 1, null", "[]"] {
            #expect(throws: ServerError.self, "\(bad)") { _ = try LineBinding.values(bad, markers: markers) }
        }
    }
}
