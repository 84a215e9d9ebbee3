import Primitives
import Testing

@testable import DataModel

@Suite struct ValueTests {
    private func bytes(_ type: CQLType, _ text: String) throws -> [UInt8] { try type.bytes(fromScalarText: text) }

    /// The day on which the least timestamp lies begins before it.
    @Test(arguments: [Int64.min, .min + 1, -1, 0, .max]) func everyTimestampHasAText(value: Int64) {
        let bytes = withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) }
        for style in [ValueStyle.shell(floatDigits: 5), .csv, .literal] {
            #expect(CQLType.timestamp.text(bytes, style: style).contains(":"))
        }
        var json = ByteWriter()
        bytes.withUnsafeBytes { CQLType.timestamp.appendJSON($0, to: &json) }
        #expect(json.count > 20)
    }

    @Test(arguments: [
        (CQLType.int, "-2147483648"), (.bigint, "9223372036854775807"), (.smallint, "-1"), (.tinyint, "127"),
        (.text, "h\u{e9}llo"),
        (.ascii, "x y"), (.boolean, "true"), (.double, "1.0E10"), (.double, "0.001"), (.double, "9999999.0"),
        (.double, "-1.5E-5"),
        (.double, "NaN"), (.double, "-Infinity"), (.float, "0.1"), (.float, "3.4028235E38"),
        (.varint, "-123456789012345678901234567890"),
        (.varint, "0"), (.varint, "-128"), (.varint, "128"), (.decimal, "1.50"), (.decimal, "-0.000001"),
        (.decimal, "1E+3"),
        (.decimal, "1.23E-8"), (.uuid, "00112233-4455-6677-8899-aabbccddeeff"),
        (.timeuuid, "50554d6e-29bb-11e5-b345-feff819cdc9f"),
        (.inet, "10.0.0.255"), (.inet, "2001:db8:0:0:0:0:0:1"), (.inet, "0:0:0:0:0:0:0:0"), (.date, "2024-02-29"),
        (.date, "-5877641-06-23"),
        (.time, "08:12:54.123456789"), (.timestamp, "1969-12-31T23:59:59.999Z"), (.duration, "1y2mo3d4h5m6s7ms8us9ns"),
        (.duration, "-2mo"), (.blob, "0xdeadbeef"),
    ]) func textRoundTrip(_ type: CQLType, _ text: String) throws {
        let value = try bytes(type, text)
        try type.validate(value)
        #expect(value.withUnsafeBytes { type.scalarText($0) } == text)
    }

    @Test(arguments: [
        (CQLType.int, "2147483648", "Unable to make int from '2147483648'"), (.int, "x", "Unable to make int from 'x'"),
        (.uuid, "nope", "Unable to make UUID from 'nope'"),
        (.date, "2023-02-29", "Unable to coerce '2023-02-29' to a formatted date (long)"),
        (.timestamp, "tomorrow", "Unable to parse a date/time from 'tomorrow'"),
        (.inet, "1.2.3.256", "Unable to make inet address from '1.2.3.256'"),
        (.inet, "1::2::3", "Unable to make inet address from '1::2::3'"),
        (.double, "0x1p3", "Unable to make double from '0x1p3'"),
        (.timeuuid, "00112233-4455-6677-8899-aabbccddeeff", "TimeUUID supports only version 1 UUIDs"),
        (.duration, "1d1y", "Invalid duration. The days should be after years"),
        (.blob, "0xabc", "cannot parse '0xabc' as hex bytes"),
    ]) func wrongTextSaysWhy(_ type: CQLType, _ text: String, _ message: String) {
        #expect(throws: ValueError.invalid(message)) { try type.bytes(fromScalarText: text) }
    }

    @Test(
        arguments: [
            (CQLType.int, [1, 2, 3], "Expected 4 or 0 byte int (3)"), (.bigint, [1], "Expected 8 or 0 byte long (1)"),
            (.tinyint, [], "Expected 1 byte for a tinyint (0)"), (.text, [0xff], "String didn't validate."),
            (.text, [0xed, 0xa0, 0x80], "String didn't validate."), (.text, [0xc0, 0x80], "String didn't validate."),
            (.list(.int), [0, 0, 0, 1], "Not enough bytes to read a list"),
            (.list(.int), [0xff, 0xff, 0xff, 0xff], "Not enough bytes to read a list"),
            (.list(.int), [0, 0, 0, 1, 0, 0, 0, 2, 1, 2], "Expected 4 or 0 byte int (2)"),
            (.list(.int), [0, 0, 0, 0, 9], "Unexpected extraneous bytes after list value"),
            (.tuple([.int]), [0, 0], "Not enough bytes to read size of 0th component"),
            (
                .duration, [2, 1, 0],
                "The duration months, days and nanoseconds must be all of the same sign (1, -1, 0)"
            ),
        ] as [(CQLType, [UInt8], String)]) func wrongBytesSayWhy(_ type: CQLType, _ value: [UInt8], _ message: String)
    {
        #expect(throws: ValueError.invalid(message)) { try type.validate(value) }
    }

    @Test func emptyValueIsValidForMostTypes() throws {
        for type in [
            CQLType.int, .bigint, .text, .blob, .double, .uuid, .timestamp, .varint, .decimal, .inet, .boolean,
        ] {
            try type.validate([])
        }
    }

    @Test(arguments: [
        (CQLType.int, ["-5", "-1", "0", "7", "100"]), (.bigint, ["-9223372036854775808", "0", "9223372036854775807"]),
        (.double, ["-Infinity", "-1.5", "-0.0", "0.0", "2.0", "Infinity", "NaN"]),
        (.varint, ["-100000000000000000000", "-256", "-1", "0", "1", "255", "100000000000000000000"]),
        (.decimal, ["-1E+3", "-5.5", "-0.01", "0.0", "0.009", "0.01", "5", "5.01", "1E+3", "1E+100"]),
        (.text, ["", "a", "ab", "b", "\u{e9}"]),
        (.date, ["-0001-01-01", "1969-12-31", "1970-01-01", "2024-01-01"]), (.boolean, ["false", "true"]),
        (
            .timeuuid,
            [
                "00000000-0000-1000-8080-808080808080", "50554d6e-29bb-11e5-b345-feff819cdc9f",
                "50554d6e-29bc-11e5-b345-feff819cdc9f",
            ]
        ),
    ]) func order(_ type: CQLType, _ ascending: [String]) throws {
        let values = try ascending.map { try bytes(type, $0) }
        for (i, a) in values.enumerated() {
            for (j, b) in values.enumerated() {
                #expect(type.compare(a, b).signum() == (i - j).signum(), "\(ascending[i]) against \(ascending[j])")
            }
        }
    }

    @Test(arguments: ["::", "::1", "2001:db8::1", "1:0:0:2::3", "1::", "10.0.0.1", "1:2:3:4:5:6:7:8"])
    func addressesAreShownInShortForm(
        _ text: String
    ) throws {
        #expect(CQLType.inet.text(try bytes(.inet, text), style: .shell(floatDigits: 5)) == text)
    }

    @Test func equalDecimalsOfDifferentScale() throws {
        #expect(CQLType.decimal.compare(try bytes(.decimal, "1.0"), try bytes(.decimal, "1.00")) == 0)
    }

    @Test func typeNamesRoundTrip() {
        for text in [
            "int", "list<text>", "map<int, frozen<list<text>>>", "frozen<tuple<int, frozen<map<text, int>>>>",
            "frozen<set<frozen<list<int>>>>",
        ] {
            #expect(CQLType.parse(text)?.description == text)
        }
        #expect(CQLType.parse("frozen<list<list<int>>>")?.description == "frozen<list<frozen<list<int>>>>")
        for text in ["", "nope", "list<int", "list<int>>", "map<int>", String(repeating: "list<", count: 100)] {
            #expect(CQLType.parse(text) == nil)
        }
    }

    @Test func setsAndMapsAreSortedAndDeduplicated() throws {
        let set = CQLType.set(.int)
        let unsorted: [UInt8] = [0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9]
        let canonical = try unsorted.withUnsafeBytes { try CollectionBuilder.canonical($0, set) }
        #expect(canonical == [0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9])
        #expect(try canonical.unsafelyUnwrapped.withUnsafeBytes { try CollectionBuilder.canonical($0, set) } == nil)
    }

    @Test(arguments: [
        (CQLType.list(.text), "[\"a\\\"b\", \"c\\n\"]"), (.map(.int, .double), "{\"1\": 0.5, \"2\": 1.0E10}"),
        (.tuple([.int, .text]), "[1, null]"), (.set(.uuid), "[\"00112233-4455-6677-8899-aabbccddeeff\"]"),
        (.map(.text, .frozen(.list(.int))), "{\"k\": [1, 2]}"), (.timestamp, "\"2013-01-01 05:00:00.000Z\""),
        (.blob, "\"0x00ff\""),
        (.boolean, "true"), (.varint, "12345678901234567890"), (.date, "\"2020-01-01\""),
        (.time, "\"10:00:00.000000000\""),
        (.duration, "\"1mo\""), (.inet, "\"0:0:0:0:0:0:0:1\""),
    ]) func jsonRoundTrip(_ type: CQLType, _ json: String) throws {
        let value = try #require(try type.bytes(fromJSON: try JSONValue(parsing: json.utf8)))
        try type.validate(value)
        var writer = ByteWriter()
        value.withUnsafeBytes { type.appendJSON($0, to: &writer) }
        #expect(String(decoding: writer.toArray(), as: UTF8.self) == json)
    }

    @Test(arguments: [
        (CQLType.int, "\"x\"", "Unable to make int from 'x'"),
        (.int, "1.5", "Expected an int value, but got a Double: 1.5"),
        (.int, "[1]", "Expected an int value, but got a ArrayList: [1]"),
        (.text, "5", "Expected a UTF-8 string, but got a Integer: 5"),
        (.list(.int), "5", "Expected a list, but got a Integer: 5"),
        (.list(.int), "[null]", "Invalid null element in list"),
        (.blob, "\"ff\"", "String representation of blob is missing 0x prefix: ff"),
        (.tuple([.int]), "[1, 2]", "Tuple contains extra items (expected 1): [1, 2]"),
    ]) func wrongJSONSaysWhy(_ type: CQLType, _ json: String, _ message: String) throws {
        let document = try JSONValue(parsing: json.utf8)
        #expect(throws: ValueError.invalid(message)) { try type.bytes(fromJSON: document) }
    }

    @Test func invalidJSONIsRefused() throws {
        for text in [
            "", "{", "[1,]", "{\"a\"}", "01", "1.", "\"\\x\"", "\"\u{01}\"", "tru", "[1] 2", "\"\\ud800\"",
            String(repeating: "[", count: 1000),
        ] {
            #expect(throws: ValueError.self, "\(text.prefix(20))") { try JSONValue(parsing: text.utf8) }
        }
        #expect(try JSONValue(parsing: "\"\\ud83d\\ude00\"".utf8) == .string("\u{1f600}"))
    }

    @Test func shellShowsValuesAsCqlshDoes() throws {
        let list = CQLType.list(.text)
        let value = try #require(try list.bytes(fromJSON: .array([.string("a"), .string("it's")])))
        #expect(list.text(value, style: .shell(floatDigits: 5)) == "['a', 'it''s']")
        #expect(CQLType.text.text(Array("a".utf8), style: .shell(floatDigits: 5)) == "a")
        #expect(CQLType.text.text(Array("a".utf8), style: .literal) == "'a'")
        for (number, shown) in [
            ("3.14159265", "3.1416"), ("100000.0", "1e+05"), ("12345.0", "12345"), ("0.00001", "1e-05"),
            ("0.0001", "0.0001"),
            ("1.5", "1.5"),
            ("0.0", "0"), ("-2.0", "-2"), ("999999.0", "1e+06"), ("99999.6", "1e+05"),
        ] {
            #expect(CQLType.double.text(try bytes(.double, number), style: .shell(floatDigits: 5)) == shown)
        }
        #expect(
            CQLType.timestamp.text(try bytes(.timestamp, "0"), style: .shell(floatDigits: 5))
                == "1970-01-01 00:00:00.000000+0000")
    }
}

@Suite struct PlainTextTests {
    @Test(arguments: [
        (CQLType.list(.int), "[1, 2, 3]"), (.set(.text), "{'a', 'it''s', 'x, y'}"),
        (.map(.text, .double), "{'a': 1.5, 'b': 2.0}"),
        (.tuple([.int, .text, .boolean]), "(1, null, True)"),
        (.map(.timestamp, .int), "{'2013-01-01 05:00:00.000000+0000': 1}"),
        (.list(.frozen(.list(.int))), "[[1], [], [2, 3]]"), (.list(.inet), "['::1', '10.0.0.1']"), (.text, " a 'b' "),
        (.boolean, "True"),
        (.timestamp, "2013-01-01 05:00:00.000000+0000"), (.blob, "0x00ff"),
        (.map(.int, .frozen(.set(.text))), "{1: {'a'}, 2: {}}"),
    ]) func readsBackWhatWasWritten(_ type: CQLType, _ text: String) throws {
        let value = try type.bytes(fromPlainText: text)
        try type.validate(value)
        #expect(type.text(value, style: .csv) == text)
    }

    @Test(arguments: [
        (CQLType.list(.int), "[1, 2"), (.list(.int), "1"), (.list(.int), "[x]"), (.list(.int), "[1] 2"),
        (.map(.int, .int), "{1}"),
        (.set(.text), "{'a}"),
        (.tuple([.int]), "(1, 2)"), (.list(.int), ""), (.list(.int), String(repeating: "[", count: 10_000)),
    ]) func refusesWhatIsNone(_ type: CQLType, _ text: String) {
        #expect(throws: ValueError.self) { try type.bytes(fromPlainText: text) }
    }
}
