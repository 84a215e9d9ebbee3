import Client
import DataModel
import Primitives
import Testing

@testable import BulkLoader

@Suite("Loader parsing") struct ParsingTests {
    let csv = CSVDialect(delimiter: UInt8(ascii: ","))

    func records(_ text: String) -> [[String]] {
        var scratch = ByteWriter()
        var found: [[String]] = []
        Array(text.utf8).withUnsafeBytes { bytes in
            var offset = 0
            var record: [String] = []
            while offset < bytes.count {
                let field = csv.field(bytes, from: offset, scratch: &scratch)
                record.append((field.isQuoted ? "q:" : "") + String(decoding: field.bytes, as: UTF8.self))
                offset = field.next
                if field.isLast {
                    found.append(record)
                    record = []
                }
            }
        }
        return found
    }

    @Test(
        "fields of RFC 4180, and what else is about",
        arguments: [
            ("a,b\r\nc,\n", [["a", "b"], ["c", ""]]),
            ("\"x, y\",\"a \"\"b\"\" c\"\n", [["q:x, y", "q:a \"b\" c"]]),
            ("\"two\nlines\",1", [["q:two\nlines", "1"]]),
            ("5\" pipe,6\n", [["5\" pipe", "6"]]),
            ("\"\",\n", [["q:", ""]]),
            ("\"open,1\n2", [["q:open,1\n2"]]),
            ("\"a\"b,c\r\n\nx", [["q:ab", "c"], [""], ["x"]]),
            ("\"\"\"\"\r\n", [["q:\""]]),
        ] as [(String, [[String]])])
    func fields(text: String, expected: [[String]]) { #expect(records(text) == expected) }

    @Test("the end of the last whole record") func recordEnds() {
        func end(_ text: String) -> Int? { Array(text.utf8).withUnsafeBytes { csv.lastRecordEnd($0) } }
        #expect(end("a,b\nc") == 4)
        #expect(end("abc") == nil)
        #expect(end("a,\"x\ny\n") == nil)
        #expect(end("a\n\"x\ny") == 2)
        #expect(end("a\n\"x\"\"\ny\",5\" z\nrest") == 15)
    }

    @Test("our number parser agrees with the library") func numbers() {
        func integer(_ text: String) -> Int64? { Array(text.utf8).withUnsafeBytes { NumberText.integer($0) } }
        func double(_ text: String) -> Double? { Array(text.utf8).withUnsafeBytes { NumberText.double($0) } }
        for text in [
            "0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "", "-", "1a", "+5",
            "99999999999999999999",
        ] {
            #expect(integer(text) == Int64(text), "\(text)")
        }
        var random = SeededRandom(seed: 11)
        for _ in 0..<20_000 {
            let whole = Int.random(in: -1_000_000...1_000_000, using: &random)
            let text = "\(whole).\(Int.random(in: 0...99_999_999, using: &random))"
            #expect(double(text) == Double(text))
        }
        for text in [
            "1e5", "-1.5E-7", "123456789012345678901234567890", "0.1", "1.", ".5", "179769313486231570000e300", "NaN",
            "-Infinity",
        ] {
            #expect(double(text)?.bitPattern == Double(text)?.bitPattern || double(text)?.isNaN == true, "\(text)")
        }
        for text in ["", ".", "-", "1.2.3", "0x10", "e5", "abc", "1 "] { #expect(double(text) == nil, "\(text)") }
    }

    @Test("our time parser agrees with CQL") func times() throws {
        func timestamp(_ text: String) -> Int64? { Array(text.utf8).withUnsafeBytes { TimeText.timestamp($0) } }
        func date(_ text: String) -> Int? { Array(text.utf8).withUnsafeBytes { TimeText.date($0) } }
        for text in [
            "2013-01-01T05:00:00Z", "2013-01-01 05:00:00", "1969-12-31T23:59:59Z", "2000-02-29 00:00:00",
            "2013-01-01T05:00:00.123Z",
            "2013-01-01 05:00+0100",
        ] {
            #expect(timestamp(text) == (try DateTimeText.parseTimestamp(text)), "\(text)")
        }
        for text in ["1970-01-01", "2013-12-31", "0001-01-01", "9999-12-31", "2000-02-29"] {
            #expect(date(text) == (try Int(DateTimeText.parseDate(text)) - (1 << 31)), "\(text)")
        }
        for text in ["2013-02-29", "2013-13-01", "2013-00-10", "2013-01-32", "13-01-01", "2013/01/01"] {
            #expect(date(text) == nil, "\(text)")
        }
        #expect(timestamp("2013-01-01 25:00:00") == nil)
    }

    func values(_ type: CQLType, _ text: String) -> String? {
        var out = ByteWriter()
        let isGood = Array(text.utf8).withUnsafeBytes { bytes in
            let converter = FieldConverter(type)
            if case .other = converter { return FieldConverter.append(type, bytes, into: &out) }
            return converter.append(bytes, into: &out)
        }
        guard isGood else {
            #expect(out.count == 0)
            return nil
        }
        return type.text(Array(out.toArray().dropFirst(4)), style: .literal)
    }

    @Test("fields are converted to their column's type") func converters() {
        #expect(values(.int, "-7") == "-7")
        #expect(values(.int, "2147483648") == nil)
        #expect(values(.smallint, "32768") == nil)
        #expect(values(.tinyint, "-128") == "-128")
        #expect(values(.boolean, "TRUE") == "true")
        #expect(values(.boolean, "yes") == nil)
        #expect(values(.date, "2013-01-01") == "'2013-01-01'")
        #expect(values(.uuid, "123e4567-e89b-12d3-a456-426614174000") == "123e4567-e89b-12d3-a456-426614174000")
        #expect(values(.varint, "123456789012345678901234567890") == "123456789012345678901234567890")
        #expect(values(.inet, "127.0.0.1") == "'127.0.0.1'")
        #expect(values(.list(.int), "[1, 2]") == "[1, 2]")
        #expect(values(.list(.int), "[1, \"x\"]") == nil)
        #expect(FieldConverter.complaint(.int, "two").contains("two"))
    }

    @Test("types are inferred from values") func guesses() {
        func guess(_ texts: String...) -> TypeGuess {
            texts.reduce(.unknown) { guess, text in guess.joined(Array(text.utf8).withUnsafeBytes { TypeGuess.of($0) })
            }
        }
        #expect(guess("1", "-5", "") == .int)
        #expect(guess("1", "3000000000") == .bigint)
        #expect(guess("1", "2.5") == .double)
        #expect(guess("2013-01-01", "2013-01-02") == .date)
        #expect(guess("2013-01-01", "2013-01-02T05:00:00Z") == .timestamp)
        #expect(guess("true", "FALSE") == .boolean)
        #expect(guess("true", "1") == .text)
        #expect(guess("007") == .text)
        #expect(guess("0", "0.5") == .double)
        #expect(guess("N14228", "1") == .text)
        #expect(guess("99999999999999999999") == .double)
        #expect(guess("2013-99-01") == .text)
        #expect(guess().type == .text)
    }

    @Test("keys are parsed as in CQL, and errors have a reason") func keys() throws {
        let key = try KeySpec(parsing: "(origin, month), time_hour DESC, \"Carrier\"")
        #expect(key.partition == ["origin", "month"])
        #expect(key.cql == "(origin, month), time_hour, \"Carrier\"")
        #expect(key.orderClause == " WITH CLUSTERING ORDER BY (time_hour DESC, \"Carrier\" ASC)")
        #expect(try KeySpec(parsing: "ID").cql == "(id)")
        #expect(try KeySpec(parsing: "((a, b), c)").cql == "(a, b), c")
        #expect(try KeySpec(parsing: "(a)").cql == "(a)")
        for bad in ["", "(a", "a,,b", "a b", "a, a", "(a, b) c", "()", "\"a"] {
            #expect(throws: LoadError.self, "\(bad)") { _ = try KeySpec(parsing: bad) }
        }
    }

    @Test(
        "a repeated value in the first column is noticed",
        arguments: [("a,1\nb,2\n", false), ("a,1\nb,2\na,3\n", true)])
    func repeats(text: String, expected: Bool) {
        var inference = TypeInference(.csv(csv), names: ["k", "v"], nulls: [])
        let chunk = RecordChunk(index: 0, bytes: Array(text.utf8), firstLine: 1, endLine: 1, endOffset: 0)
        let sawAll = inference.look(chunk, limit: 100)
        let (repeats, guesses) = (inference.firstColumnRepeats, inference.guesses)
        #expect(sawAll)
        #expect(repeats == expected)
        #expect(guesses == [.text, .int])
        var cut = TypeInference(.csv(csv), names: ["k", "v"], nulls: [])
        let sawAllAgain = cut.look(chunk, limit: 1)
        let records = cut.records
        #expect(!sawAllAgain)
        #expect(records == 1)
    }

    @Test("members of a JSON object") func json() throws {
        func members(_ text: String) throws -> [String] {
            try Array(text.utf8).withUnsafeBytes { bytes in
                var line = JSONLine(bytes)
                var found: [String] = []
                while let member = try line.next() {
                    found.append(
                        "\(String(decoding: member.key, as: UTF8.self)) \(member.kind) \(String(decoding: member.value, as: UTF8.self))"
                    )
                }
                return found
            }
        }
        #expect(
            try members(#" {"a": 1, "b":"x, }", "c":null,"d":[1,{"e":"]"}], "f":true,"g":"\"q\\"} "#) == [
                "a scalar 1", "b string x, }", "c null null", #"d nested [1,{"e":"]"}]"#, "f scalar true",
                #"g escapedString \"q\\"#,
            ])
        #expect(try members("{}") == [])
        for bad in [
            "", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1} x", "{\"a\":nul}", "{\"a\":\"x}", "{\"a\":[1}",
            "{\"a\" 1}",
            "{\"a\":1,}", "{\"a\":\"\\",
        ] {
            #expect(throws: JSONLine.Damage.self, "\(bad)") { _ = try members(bad) }
        }
        var random = SeededRandom(seed: 2)
        let base = Array(#"{"a": 1, "b":"x\n", "c":[1,{"e":"]"}], "f":true}"#.utf8)
        for _ in 0..<20_000 {
            var bytes = base
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes.withUnsafeBytes { raw in
                var line = JSONLine(raw)
                while let member = try? line.next() { _ = member.value.count }
            }
        }
    }

    @Test("the state of a load survives encoding and decoding") func state() {
        let state = LoadState(size: 10, modified: 20, target: "k.t a,b", offset: 5, line: 3, rows: 2)
        #expect(LoadState(parsing: state.text) == state)
        for bad in [
            "", "x", state.text.replacing("offset=5", with: "offset=-5"),
            state.text.replacing("auspex-load=1", with: "auspex-load=2"),
        ] {
            #expect(LoadState(parsing: bad) == nil)
        }
    }

    @Test("field names are converted to column names") func names() {
        #expect(LoadPlan.columnName("Tail Num.") == "tail_num")
        #expect(LoadPlan.columnName("dep_time") == "dep_time")
        #expect(LoadPlan.columnName("2nd") == "_2nd")
        #expect(LoadPlan.columnName("é") == "_")
    }
}
