/// A parsed COPY command.
struct CopyStatement: Equatable {
    enum Direction: Equatable { case to, from }
    enum Target: Equatable {
        case file(String)
        /// STDOUT or STDIN.
        case standard
    }

    var keyspace: String?
    var table: String
    var columns: [String] = []
    var direction: Direction
    var target: Target
    var header = false
    var delimiter = UInt8(ascii: ",")
    var quote = UInt8(ascii: "\"")
    var escape = UInt8(ascii: "\\")
    var null = ""
    var pageSize = 1000
    var maxRows: Int?
    var skipRows = 0

    /// Parses `COPY [keyspace.]table [(columns)] TO|FROM 'file'|STDOUT|STDIN [WITH name = value [AND ...]]`.
    init(parsing text: String) throws(ShellError) {
        var tokens = CopyStatement.tokens(text)[...]
        func fail(_ what: String) -> ShellError { .command("Improper COPY command: \(what); HELP COPY shows the form") }
        func isWord(_ token: Token?, _ word: String) -> Bool {
            token?.isQuoted == false && token?.text.uppercased() == word
        }
        func name(_ token: Token?) throws(ShellError) -> String {
            guard let token, token.quote != UInt8(ascii: "'"), let first = token.text.first,
                first.isLetter || first == "_" || token.isQuoted
            else {
                throw fail("a name expected, found \(token.map { "'\($0.text)'" } ?? "the end")")
            }
            return token.isQuoted ? token.text : token.text.lowercased()
        }
        _ = tokens.popFirst()
        table = try name(tokens.popFirst())
        keyspace = nil
        if tokens.first?.text == ".", tokens.first?.isQuoted == false {
            _ = tokens.popFirst()
            keyspace = table
            table = try name(tokens.popFirst())
        }
        if tokens.first?.text == "(" {
            _ = tokens.popFirst()
            while true {
                columns.append(try name(tokens.popFirst()))
                let next = tokens.popFirst()?.text
                if next == ")" { break }
                guard next == "," else { throw fail("',' or ')' expected after column \(columns.last ?? "")") }
            }
        }
        switch tokens.popFirst() {
        case let token where isWord(token, "TO"): direction = .to
        case let token where isWord(token, "FROM"): direction = .from
        default: throw fail("TO or FROM expected")
        }
        guard let place = tokens.popFirst() else { throw fail("a file expected") }
        if place.quote == UInt8(ascii: "'") {
            target = .file(place.text)
        } else if isWord(place, direction == .to ? "STDOUT" : "STDIN") {
            target = .standard
        } else {
            throw fail("a file name in quotes expected, found '\(place.text)'")
        }
        guard let with = tokens.popFirst() else { return }
        guard isWord(with, "WITH") else { throw fail("WITH expected, found '\(with.text)'") }
        while true {
            guard let option = tokens.popFirst(), tokens.popFirst()?.text == "=", let value = tokens.popFirst() else {
                throw fail("option = value expected after WITH")
            }
            var text = value.text
            if text == "-", !value.isQuoted, let number = tokens.popFirst() { text += number.text }
            try set(option.text.uppercased(), text)
            guard let and = tokens.popFirst() else { return }
            guard isWord(and, "AND") else { throw fail("AND expected, found '\(and.text)'") }
        }
    }

    private mutating func set(_ option: String, _ value: String) throws(ShellError) {
        func byte() throws(ShellError) -> UInt8 {
            if value == "\\t" { return 0x09 }
            guard value.utf8.count == 1, let byte = value.utf8.first else {
                throw .command("COPY option \(option) takes one character, found '\(value)'")
            }
            return byte
        }
        func number(from least: Int) throws(ShellError) -> Int {
            guard let number = Int(value), number >= least else {
                throw .command("COPY option \(option) takes a number from \(least), found '\(value)'")
            }
            return number
        }
        switch option {
        case "HEADER":
            guard value.lowercased() == "true" || value.lowercased() == "false" else {
                throw .command("COPY option HEADER takes true or false")
            }
            header = value.lowercased() == "true"
        case "DELIMITER": delimiter = try byte()
        case "QUOTE": quote = try byte()
        case "ESCAPE": escape = try byte()
        case "NULL", "NULLVAL": null = value
        case "PAGESIZE": pageSize = try number(from: 1)
        case "MAXROWS": maxRows = try number(from: -1) == -1 ? nil : number(from: 0)
        case "SKIPROWS": skipRows = try number(from: 0)
        default: throw .command("Unrecognized COPY option \(option); HELP COPY lists them")
        }
    }

    private struct Token {
        var text: String
        /// The quote character around it; 0 when there is none.
        var quote: UInt8
        var isQuoted: Bool { quote != 0 }
    }

    private static func tokens(_ text: String) -> [Token] {
        let bytes = Array(text.utf8)
        var tokens: [Token] = []
        var offset = 0
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == 0x20 || (0x09...0x0D).contains(byte) {
                offset += 1
            } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
                var value: [UInt8] = []
                offset += 1
                while offset < bytes.count {
                    if bytes[offset] == byte {
                        guard offset + 1 < bytes.count, bytes[offset + 1] == byte else { break }
                        offset += 1
                    }
                    value.append(bytes[offset])
                    offset += 1
                }
                offset += 1
                tokens.append(Token(text: String(decoding: value, as: UTF8.self), quote: byte))
            } else if [
                UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: "."), UInt8(ascii: "="),
                UInt8(ascii: "-"),
            ]
            .contains(byte) {
                tokens.append(Token(text: String(decoding: [byte], as: UTF8.self), quote: 0))
                offset += 1
            } else {
                let start = offset
                while offset < bytes.count, !" \t\r\n(),.='\"".utf8.contains(bytes[offset]) { offset += 1 }
                tokens.append(Token(text: String(decoding: bytes[start..<offset], as: UTF8.self), quote: 0))
            }
        }
        return tokens
    }
}
