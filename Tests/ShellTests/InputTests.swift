import Client
import DataModel
import Testing

@testable import Shell

@Suite("Shell input") struct InputTests {
    func split(_ text: String, byteByByte: Bool = false) -> ([String], String?) {
        var splitter = InputSplitter()
        var found: [String] = []
        if byteByByte {
            for byte in text.utf8 { found += splitter.feed([byte]) }
        } else {
            found = splitter.feed(Array(text.utf8))
        }
        return (found, splitter.finish())
    }

    @Test(
        "statements end at ; outside of quotes, comments and batches",
        arguments: [
            ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"], nil),
            ("INSERT INTO t VALUES ('a;''b', \"c;\");x", ["INSERT INTO t VALUES ('a;''b', \"c;\")"], "x"),
            ("-- a; comment\nSELECT 1 -- more;\n;", ["SELECT 1 -- more;"], nil),
            ("/* a; */ SELECT /* ; */ 1;", ["SELECT /* ; */ 1"], nil),
            ("SELECT $$;$$;", ["SELECT $$;$$"], nil),
            (
                "BEGIN UNLOGGED BATCH INSERT INTO t (a) VALUES (1); UPDATE t SET b = 1; APPLY BATCH; USE k;",
                ["BEGIN UNLOGGED BATCH INSERT INTO t (a) VALUES (1); UPDATE t SET b = 1; APPLY BATCH", "USE k"], nil
            ),
            ("consistency quorum\nSELECT\n1;", ["consistency quorum", "SELECT\n1"], nil),
            ("DESC TABLES\nSELECT 1", ["DESC TABLES"], "SELECT 1"),
            (";;", [], nil),
            ("SELECT 'open;", [], "SELECT 'open;"),
            ("SELECT 5 - 3 / 1;", ["SELECT 5 - 3 / 1"], nil),
        ] as [(String, [String], String?)])
    func splitting(text: String, statements: [String], rest: String?) {
        let (found, last) = split(text)
        #expect(found == statements)
        #expect(last == rest)
        let (slowly, slowLast) = split(text, byteByByte: true)
        #expect(slowly == statements)
        #expect(slowLast == rest)
    }

    @Test("shell commands") func commands() throws {
        #expect(try ShellCommand.parse("CONSISTENCY local_quorum") == .consistency(.localQuorum))
        #expect(try ShellCommand.parse("serial consistency local_serial") == .serialConsistency(.localSerial))
        #expect(try ShellCommand.parse("PAGING 20") == .paging(20))
        #expect(try ShellCommand.parse("paging off") == .paging(0))
        #expect(try ShellCommand.parse("SOURCE '/a b/c''d.cql'") == .source("/a b/c'd.cql"))
        #expect(try ShellCommand.parse("CAPTURE OFF") == .capture(.off))
        #expect(try ShellCommand.parse("SELECT 1") == nil)
        #expect(try ShellCommand.parse("DESCRIBE TABLES") == nil)
        for bad in [
            "CONSISTENCY MANY", "SERIAL CONSISTENCY ONE", "PAGING x", "SHOW me", "TRACING maybe", "SOURCE",
            "CAPTURE 'x",
        ] {
            #expect(throws: ShellError.self, "\(bad)") { _ = try ShellCommand.parse(bad) }
        }
    }

    @Test("keys from bytes") func keys() {
        func keys(_ bytes: [UInt8]) -> [Key] {
            var rest = bytes[...]
            var found: [Key] = []
            while let key = KeyDecoder.next({ _ in rest.popFirst() }) { found.append(key) }
            return found
        }
        #expect(keys(Array("aé漢".utf8)) == [.text("a"), .text("é"), .text("漢")])
        #expect(
            keys([0x1B, 0x5B, 0x41, 0x1B, 0x5B, 0x31, 0x3B, 0x35, 0x44, 0x1B, 0x62, 0x1B, 0x5B, 0x33, 0x7E]) == [
                .up, .wordLeft, .wordLeft, .delete,
            ])
        #expect(keys([0x12, 0x7F, 0x0D, 0x1B]) == [.searchBack, .backspace, .enter, .escape])
        #expect(keys([0xFF, 0xC3]) == [.unknown, .unknown])
    }

    @Test("editing") func editing() {
        var buffer = EditBuffer()
        buffer.insert("SELECT * FROM tablé")
        buffer.wordLeft()
        buffer.insert("k.")
        #expect(buffer.text == "SELECT * FROM k.tablé")
        buffer.killToEnd()
        buffer.home()
        buffer.yank()
        #expect(buffer.text == "tabléSELECT * FROM k.")
        buffer.end()
        buffer.killWordBack()
        #expect(buffer.text == "tabléSELECT * FROM ")
        buffer.backspace()
        buffer.left()
        buffer.transpose()
        #expect(buffer.text == "tabléSELECT * FRMO")
        buffer.home()
        buffer.killWordForward()
        #expect(buffer.text == " * FRMO")
        buffer.killToStart()
        buffer.delete()
        #expect(buffer.text == "* FRMO")
        buffer.replaceBeforeCursor(5, with: "x")
        #expect(buffer.text == "x* FRMO")
    }

    @Test("history drops repeats and secrets, and is searched by substring") func history() {
        var history = History(path: nil)
        for entry in ["SELECT 1;", "SELECT 1;", "CREATE ROLE x WITH PASSWORD = 'p';", "LOGIN ann", "USE k;"] {
            history.add(entry)
        }
        #expect(history.entries == ["SELECT 1;", "USE k;"])
        #expect(history.search("SEL", before: 2) == 0)
        #expect(history.search("SEL", before: 0) == nil)
        for text in ["a\nb", "\\n", "\\", "plain"] { #expect(History.unescaped(History.escaped(text)) == text) }
    }

    @Test("completion") func completion() {
        var names = Completion.Names()
        names.keyspaces = ["demo", "system"]
        names.tables = ["demo": ["airports", "Flights"]]
        names.columns = ["demo.airports": ["faa", "name", "tz"]]
        func words(_ text: String, _ keyspace: String? = nil) -> [String] {
            Completion.words(text, names: names, keyspace: keyspace).words
        }
        #expect(words("SEL") == ["SELECT"])
        #expect(words("sel") == ["select"])
        #expect(words("USE d") == ["demo"])
        #expect(words("SELECT * FROM d") == ["demo."])
        #expect(words("SELECT * FROM demo.") == ["demo.\"Flights\"", "demo.airports"])
        #expect(words("SELECT * FROM a", "demo") == ["airports"])
        #expect(words("SELECT * FROM demo.airports WHERE f").contains("faa"))
        #expect(words("CONSISTENCY LOCAL_").count == 3)
        #expect(words("CREATE TABLE t (a tinyi") == ["tinyint"])
        #expect(LineEditor.sharedPrefix("LOCAL_ONE", "local_quorum") == "LOCAL_")
    }
}
