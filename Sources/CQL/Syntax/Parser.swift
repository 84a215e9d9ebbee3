import DataModel

/// A recursive-descent parser for CQL 3.4.5.
///
/// Parsing takes linear time. Nesting is limited by `maximumDepth`, so that no text overflows the stack.
public struct Parser {
    /// The maximum size of a statement, in bytes.
    public static let maximumBytes = 256 << 20
    static let maximumDepth = 50
    /// The maximum number of bind markers: counts in the native protocol have 16 bits.
    static let maximumMarkers = 65_535

    var lexer: Lexer
    var token: Token
    var depth = 0
    var markers: [String?] = []

    /// Parses one statement, optionally followed by `;`.
    /// - Throws: a syntax error with line and column.
    public static func parse(_ text: String) throws(ServerError) -> ParsedStatement {
        try parse(bytes: Array(text.utf8))
    }

    /// Parses one statement from UTF-8 bytes.
    public static func parse(bytes: [UInt8]) throws(ServerError) -> ParsedStatement {
        guard bytes.count <= maximumBytes else {
            throw .syntax("Statement of \(bytes.count) bytes is longer than \(maximumBytes)")
        }
        var parser = try Parser(bytes)
        let statement = try parser.statement()
        while try parser.takeSymbol(";") {}
        guard parser.token.kind == .end else {
            throw parser.problem("mismatched input '\(parser.text(parser.token))' expecting EOF")
        }
        return ParsedStatement(statement: statement, markers: parser.markers)
    }

    init(_ bytes: [UInt8]) throws(ServerError) {
        lexer = Lexer(bytes)
        token = Token(kind: .end, start: 0, end: 0)
        token = try lexer.next()
    }

    // MARK: Tokens

    mutating func advance() throws(ServerError) { token = try lexer.next() }

    /// Returns to an earlier token.
    mutating func rewind(to earlier: Token) {
        token = earlier
        lexer.offset = earlier.end
    }

    /// Returns the token after the current one.
    mutating func peek() throws(ServerError) -> Token {
        let here = lexer.offset
        defer { lexer.offset = here }
        return try lexer.next()
    }

    func text(_ token: Token) -> String {
        token.kind == .end ? "<EOF>" : String(decoding: lexer.bytes[token.start..<token.end], as: UTF8.self)
    }

    func problem(_ message: String) -> ServerError { SyntaxProblem.near(token, in: lexer.bytes, message) }
    func unexpected() -> ServerError { problem("no viable alternative at input '\(text(token))'") }

    /// Whether the token is this keyword, ignoring case. `word` must be lower case.
    func isWord(_ word: StaticString, _ token: Token) -> Bool {
        guard token.kind == .word, token.end - token.start == word.utf8CodeUnitCount else { return false }
        return word.withUTF8Buffer { wanted in
            for index in 0..<wanted.count where lexer.bytes[token.start + index] | 0x20 != wanted[index] | 0x20 {
                return false
            }
            return true
        }
    }

    func isWord(_ word: StaticString) -> Bool { isWord(word, token) }
    func isSymbol(_ symbol: StaticString) -> Bool { isSymbol(symbol, token) }
    func isSymbol(_ symbol: StaticString, _ token: Token) -> Bool {
        token.kind == .symbol && token.symbol == UInt16(symbol: symbol)
    }

    mutating func takeWord(_ word: StaticString) throws(ServerError) -> Bool {
        guard isWord(word) else { return false }
        try advance()
        return true
    }

    mutating func takeSymbol(_ symbol: StaticString) throws(ServerError) -> Bool {
        guard isSymbol(symbol) else { return false }
        try advance()
        return true
    }

    mutating func expectWord(_ word: StaticString) throws(ServerError) {
        guard try takeWord(word) else {
            throw problem("mismatched input '\(text(token))' expecting K_\(String(describing: word).uppercased())")
        }
    }

    mutating func expectSymbol(_ symbol: StaticString) throws(ServerError) {
        guard try takeSymbol(symbol) else { throw problem("mismatched input '\(text(token))' expecting '\(symbol)'") }
    }

    /// Runs `body` one nesting level deeper.
    ///
    /// - Throws: a syntax error beyond `maximumDepth`.
    mutating func nested<R>(_ body: (inout Parser) throws(ServerError) -> R) throws(ServerError) -> R {
        guard depth < Self.maximumDepth else { throw problem("nested deeper than \(Self.maximumDepth) levels") }
        depth += 1
        defer { depth -= 1 }
        return try body(&self)
    }

    // MARK: Names

    /// Whether the token can be a name.
    func isName(_ token: Token) -> Bool {
        switch token.kind {
        case .quotedName: return token.end - token.start > 2
        case .word:
            // No reserved word has more than twelve characters.
            if token.end - token.start > 12 { return true }
            let word = text(token).lowercased()
            switch word {
            case "default", "unset", "mbean", "mbeans", "replace": return true
            case "true", "false": return false
            default: return !Identifier.reservedWords.contains(word)
            }
        default: return false
        }
    }

    /// Parses a name; folded to lower case unless it is quoted.
    mutating func name() throws(ServerError) -> String {
        guard isName(token) else { throw unexpected() }
        let name = nameText(token)
        try advance()
        return name
    }

    func nameText(_ token: Token) -> String {
        if token.kind == .quotedName {
            return String(decoding: lexer.bytes[(token.start + 1)..<(token.end - 1)], as: UTF8.self).replacing(
                "\"\"", with: "\"")
        }
        return text(token).lowercased()
    }

    mutating func qualifiedName() throws(ServerError) -> QualifiedName {
        let first = try name()
        guard try takeSymbol(".") else { return QualifiedName(keyspace: nil, name: first) }
        return QualifiedName(keyspace: first, name: try name())
    }

    /// Returns the contents of a string token.
    func stringText(_ token: Token) -> String {
        if token.kind == .dollarString {
            return String(decoding: lexer.bytes[(token.start + 2)..<(token.end - 2)], as: UTF8.self)
        }
        let inner = lexer.bytes[(token.start + 1)..<(token.end - 1)]
        let text = String(decoding: inner, as: UTF8.self)
        return inner.contains(UInt8(ascii: "'")) ? text.replacing("''", with: "'") : text
    }

    mutating func string() throws(ServerError) -> String {
        guard token.kind == .string || token.kind == .dollarString else {
            throw problem("mismatched input '\(text(token))' expecting STRING_LITERAL")
        }
        let value = stringText(token)
        try advance()
        return value
    }

    /// Parses one or more `body`, separated by commas.
    mutating func list<R>(_ body: (inout Parser) throws(ServerError) -> R) throws(ServerError) -> [R] {
        var items = [try body(&self)]
        while try takeSymbol(",") { items.append(try body(&self)) }
        return items
    }

    mutating func ifNotExists() throws(ServerError) -> Bool {
        guard try takeWord("if") else { return false }
        try expectWord("not")
        try expectWord("exists")
        return true
    }

    mutating func ifExists() throws(ServerError) -> Bool {
        guard try takeWord("if") else { return false }
        try expectWord("exists")
        return true
    }

    // MARK: Statements

    mutating func statement() throws(ServerError) -> Statement {
        if isWord("select") { return .select(try select()) }
        if isWord("insert") || isWord("update") || isWord("delete") { return .modification(try modification()) }
        if isWord("begin") { return .batch(try batch()) }
        if isWord("use") {
            try advance()
            return .use(try name())
        }
        if isWord("truncate") {
            try advance()
            if isWord("table") || isWord("columnfamily") { try advance() }
            return .truncate(try qualifiedName())
        }
        if isWord("create") { return try create() }
        if isWord("alter") { return try alter() }
        if isWord("drop") { return try drop() }
        if isWord("describe") || isWord("desc") { return .describe(try describe()) }
        if isWord("grant") || isWord("revoke") || isWord("list") { return try accessControl() }
        throw unexpected()
    }
}
