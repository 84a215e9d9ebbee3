import DataModel
import Testing

@testable import Admin

@Suite("Admin") struct AdminTests {
    func table(_ json: String) throws -> String { ValueTable.text(try JSONValue(parsing: Array(json.utf8))) }

    @Test("an object is shown as a list, an array of objects as a table") func tables() throws {
        #expect(
            try table(
                #"{"state":"normal","load_bytes":1536,"failure":null,"up":true,"nodes":[{"address":"a","tokens":16},{"address":"bcd","tokens":1,"x":"y"}]}"#
            )
                == """
                state       normal
                load_bytes  1.5 KiB
                failure     -
                up          yes

                nodes
                  address  tokens  x
                  a            16
                  bcd           1  y

                """)
        #expect(try table("[]") == "nothing to show\n")
        #expect(try table("[1,2]") == "1\n2\n")
        #expect(try table(#"{"tables":[]}"#) == "tables  none\n")
    }

    @Test("sizes have units") func sizes() {
        #expect(ValueTable.size(1023) == "1023 B")
        #expect(ValueTable.size(1024) == "1.0 KiB")
        #expect(ValueTable.size(3 << 30) == "3.0 GiB")
        #expect(ValueTable.size(Int.max) == "8.0 EiB")
    }

    @Test("HTTP answers are parsed, and anything else is refused") func http() throws {
        let (status, body) = try HTTPRequest.parse(Array("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}x".utf8))
        #expect(status == 404)
        #expect(body == Array("{}".utf8))
        for bad in ["", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "HTTP/1.1 x\r\n\r\n"] {
            #expect(throws: AdminError.self, "\(bad)") { _ = try HTTPRequest.parse(Array(bad.utf8)) }
        }
        #expect(
            HTTPRequest.target("/admin/flush", [("keyspace", "a b&c"), ("table", "t")])
                == "/admin/flush?keyspace=a%20b%26c&table=t")
    }
}
