import DataModel

/// Syntax errors in the format of Cassandra's parser: line from 1, column from 0, then the message.
enum SyntaxProblem {
    static func at(_ offset: Int, in bytes: [UInt8], _ message: String) -> ServerError {
        var line = 1
        var lineStart = 0
        for index in 0..<min(offset, bytes.count) where bytes[index] == 0x0a {
            line += 1
            lineStart = index + 1
        }
        let column = String(decoding: bytes[lineStart..<max(lineStart, min(offset, bytes.count))], as: UTF8.self).utf16
            .count
        return .syntax("line \(line):\(column) \(message)")
    }

    /// Appends to `message` the text before the token, and the token in brackets.
    static func near(_ token: Token, in bytes: [UInt8], _ message: String) -> ServerError {
        let before = 60
        let longest = 60
        var start = max(0, token.start - before)
        while start > 0, start < token.start, bytes[start] & 0xc0 == 0x80 { start += 1 }
        var end = min(token.end, token.start + longest)
        while end < token.end, bytes[end] & 0xc0 == 0x80 { end += 1 }
        if start > 0 {
            // Begin with a whole word.
            while start < token.start, bytes[start] != 0x20 { start += 1 }
        }
        let prefix = (start > 0 ? "..." : "") + String(decoding: bytes[start..<token.start], as: UTF8.self)
        let text = String(decoding: bytes[token.start..<end], as: UTF8.self)
        let snippet = token.kind == .end ? "" : " (\(prefix)[\(text)]...)"
        return at(token.start, in: bytes, message + snippet)
    }
}
