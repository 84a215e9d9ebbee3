import DataModel

/// Splits a script into statements, for the shell and the loader.
public enum StatementSplitter {
    /// The byte ranges of the complete statements, without their `;`, and the start of an incomplete one.
    public struct Pieces: Sendable {
        public var statements: [Range<Int>]
        /// The start of a statement that is not terminated; nil when only white space and comments are left.
        public var unfinished: Int?
    }

    /// Splits a whole script; the last statement needs no `;`.
    /// - Throws: a syntax error for a character that begins no token and for an unterminated quoted text.
    public static func split(_ script: String) throws(ServerError) -> [String] {
        let bytes = Array(script.utf8)
        let pieces = try pieces(bytes)
        var statements = pieces.statements.map { String(decoding: bytes[$0], as: UTF8.self) }
        if let start = pieces.unfinished { statements.append(String(decoding: bytes[start...], as: UTF8.self)) }
        return statements
    }

    /// Splits at each `;` outside of quotes, comments and BEGIN ... APPLY BATCH. Takes linear time.
    public static func pieces(_ bytes: [UInt8]) throws(ServerError) -> Pieces {
        var lexer = Lexer(bytes)
        var pieces = Pieces(statements: [], unfinished: nil)
        var start: Int?
        var end = 0
        var isBatch = false
        var sawApply = false
        while true {
            let token = try lexer.next()
            if token.kind == .end { break }
            if token.kind == .symbol, token.symbol == UInt16(symbol: ";") {
                if isBatch { continue }
                if let first = start { pieces.statements.append(first..<end) }
                start = nil
                continue
            }
            if token.kind == .word {
                let length = token.end - token.start
                let word =
                    length <= 5 ? String(decoding: bytes[token.start..<token.end], as: UTF8.self).uppercased() : ""
                if start == nil, word == "BEGIN" { isBatch = true }
                if isBatch, word == "BATCH", sawApply { isBatch = false }
                sawApply = word == "APPLY"
            } else {
                sawApply = false
            }
            if start == nil { start = token.start }
            end = token.end
        }
        pieces.unfinished = start
        return pieces
    }
}
