import DataModel

/// The output format of rows.
public enum LineFormat: String, Sendable, CaseIterable {
    /// One JSON array per row.
    case array
    /// One JSON object per row.
    case object
    /// Tab-separated values.
    case tsv
}

/// A command for the session: a line that begins with `\`.
public enum LineCommand: Sendable, Equatable {
    /// Sets the consistency level; nil shows it.
    case consistency(Consistency?)
    case serialConsistency(Consistency?)
    /// Sets the page size in rows (0 disables paging); nil shows it.
    case page(Int?)
    /// Requests the next page of the last result.
    case next
    case format(LineFormat?)
    case tracing(Bool?)
    case login(user: String, password: String)
    /// Prepares a statement under a name.
    case prepare(name: String, statement: String)
    /// Executes a prepared statement; the values are the text of a JSON array, or nil.
    case execute(name: String, values: String?)
    /// Toggles the times in responses.
    case timing
    case help
    case quit
}

/// One line from a client.
public enum LineRequest: Sendable, Equatable {
    /// A blank line or a comment; gets no response.
    case nothing
    /// A CQL statement: its range in the line, without surrounding blanks and its `;`.
    case statement(Range<Int>)
    case command(LineCommand)
}

extension LineRequest {
    /// Parses a line.
    /// - Throws: when a command is invalid, with its usage. Statements are not parsed here.
    public static func parse(_ line: UnsafeRawBufferPointer) throws(ServerError) -> LineRequest {
        var start = 0
        var end = line.count
        while start < end, isBlank(line[start]) { start += 1 }
        while end > start, isBlank(line[end - 1]) { end -= 1 }
        guard start < end else { return .nothing }
        if line[start] == UInt8(ascii: "\\") {
            let bytes = UnsafeRawBufferPointer(rebasing: line[start + 1..<end])
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw ServerError(.protocolError, "The command is not valid UTF-8")
            }
            return .command(try LineCommand.parse(text))
        }
        if end - start >= 2, line[start] == line[start + 1],
            line[start] == UInt8(ascii: "-") || line[start] == UInt8(ascii: "/")
        {
            return .nothing
        }
        while end > start, line[end - 1] == UInt8(ascii: ";") || isBlank(line[end - 1]) { end -= 1 }
        return start < end ? .statement(start..<end) : .nothing
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }
}

extension LineCommand {
    /// The lines of `\help`.
    public static let helpLines: [String] = [
        "\\consistency [LEVEL]        the consistency level of the statements that follow",
        "\\serial [LEVEL]             SERIAL or LOCAL_SERIAL, for statements with IF",
        "\\page [N]                   rows a page; 0: all in one answer",
        "\\next                       the next page of the last answer",
        "\\format [array|object|tsv]  the output format of rows",
        "\\tracing [on|off]           trace events after each answer",
        "\\timing                     toggles the times in answers",
        "\\login USER PASSWORD        logs in",
        "\\prepare NAME CQL           prepares a statement with ? or :name markers",
        "\\execute NAME [JSON array]  runs it with these values",
        "\\help                       this",
        "\\quit                       ends the connection",
    ]

    /// Parses the text after the backslash.
    static func parse(_ text: String) throws(ServerError) -> LineCommand {
        let (name, rest) = firstWord(text)
        switch name.lowercased() {
        case "consistency": return .consistency(try level(rest, "\\consistency"))
        case "serial":
            let level = try level(rest, "\\serial")
            guard level == nil || level == .serial || level == .localSerial else {
                throw .invalid("\\serial takes SERIAL or LOCAL_SERIAL")
            }
            return .serialConsistency(level)
        case "page":
            if rest.isEmpty { return .page(nil) }
            guard let rows = Int(rest), rows >= 0, rows <= Int(Int32.max) else {
                throw .invalid("\\page takes a number of rows, 0 for all in one answer; found '\(rest)'")
            }
            return .page(rows)
        case "next": return .next
        case "format":
            if rest.isEmpty { return .format(nil) }
            guard let format = LineFormat(rawValue: rest.lowercased()) else {
                throw .invalid("\\format takes array, object or tsv; found '\(rest)'")
            }
            return .format(format)
        case "tracing":
            switch rest.lowercased() {
            case "": return .tracing(nil)
            case "on": return .tracing(true)
            case "off": return .tracing(false)
            default: throw .invalid("\\tracing takes on or off; found '\(rest)'")
            }
        case "login":
            let (user, password) = firstWord(rest)
            guard !user.isEmpty, !password.isEmpty else { throw .invalid("\\login takes a user and a password") }
            return .login(user: user, password: password)
        case "prepare":
            let (name, statement) = firstWord(rest)
            guard !name.isEmpty, !statement.isEmpty else { throw .invalid("\\prepare takes a name and a statement") }
            return .prepare(name: name, statement: statement)
        case "execute":
            let (name, values) = firstWord(rest)
            guard !name.isEmpty else {
                throw .invalid("\\execute takes the name given to \\prepare, then the values as a JSON array")
            }
            return .execute(name: name, values: values.isEmpty ? nil : values)
        case "timing": return .timing
        case "help", "?": return .help
        case "quit", "q", "exit": return .quit
        default: throw .invalid("unknown command '\\\(name)'; \\help lists them")
        }
    }

    private static func level(_ text: String, _ command: String) throws(ServerError) -> Consistency? {
        if text.isEmpty { return nil }
        guard let level = Consistency(name: text) else {
            let known = Consistency.allCases.map(\.name).joined(separator: ", ")
            throw .invalid("\(command): unknown consistency level '\(text)'; known levels: \(known)")
        }
        return level
    }

    /// Returns the text up to the first blank, and the rest without surrounding blanks.
    private static func firstWord(_ text: String) -> (String, String) {
        let trimmed = text.drop { $0 == " " || $0 == "\t" }
        guard let blank = trimmed.firstIndex(where: { $0 == " " || $0 == "\t" }) else { return (String(trimmed), "") }
        var rest = trimmed[blank...].drop { $0 == " " || $0 == "\t" }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return (String(trimmed[..<blank]), String(rest))
    }
}
