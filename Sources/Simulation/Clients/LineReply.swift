import DataModel

/// The outcome of a request over the line protocol.
public enum LineReply: Sendable, Equatable {
    /// Rows of cells, each as its JSON text, and the last line without its tag.
    case done(rows: [[String]], text: String)
    /// The server's error: its code and its line.
    case failed(code: Int, text: String)
    /// No answer came; the outcome is unknown.
    case unknown(String)

    /// The rows; nil when the request did not succeed.
    var rows: [[String]]? {
        if case .done(let rows, _) = self { return rows }
        return nil
    }

    /// Whether the request succeeded and its condition held.
    var isApplied: Bool {
        if case .done(_, let text) = self { return text == "applied" }
        return false
    }

    var isDone: Bool {
        if case .done = self { return true }
        return false
    }

    /// Whether the request certainly had no effect and will have none: too few replicas were alive, or the request is
    /// invalid.
    var isRefused: Bool {
        guard case .failed(let code, _) = self else { return false }
        return code == 0x1000 || LineReply.isInvalidRequest(code)
    }

    /// Whether the server rejected the request as invalid, which no fault explains.
    var isInvalidRequest: Bool {
        guard case .failed(let code, _) = self else { return false }
        return LineReply.isInvalidRequest(code)
    }

    /// Protocol error, syntax error, unauthorized, invalid, configuration error. "Already exists" is not among them.
    private static func isInvalidRequest(_ code: Int) -> Bool {
        [0x000A, 0x2000, 0x2100, 0x2200, 0x2300].contains(code)
    }

    var text: String {
        switch self {
        case .done(let rows, let text):
            rows.isEmpty
                ? text
                : rows.prefix(4).map { "[" + $0.joined(separator: ",") + "]" }.joined(separator: " ") + " " + text
        case .failed(_, let text): "error " + text
        case .unknown(let why): "unknown: " + why
        }
    }

    /// Parses an answer whose last line has the tag `.` or `!`; nil when it is malformed.
    init?(lines: [String]) {
        guard let last = lines.last else { return nil }
        var rows: [[String]] = []
        for line in lines where line.hasPrefix("R ") { rows.append(LineReply.cells(line.dropFirst(2))) }
        if last.hasPrefix(". ") {
            self = .done(rows: rows, text: String(last.dropFirst(2)))
        } else if last.hasPrefix("! "), let code = Int(last.dropFirst(2).prefix(4), radix: 16) {
            self = .failed(code: code, text: String(last.dropFirst(2)))
        } else {
            return nil
        }
    }

    /// Returns the elements of a JSON array, each as its text.
    static func cells(_ json: Substring) -> [String] {
        var cells: [String] = []
        var cell = ""
        var depth = 0
        var isQuoted = false
        var isEscaped = false
        for char in json {
            if isQuoted {
                cell.append(char)
                if isEscaped {
                    isEscaped = false
                } else if char == "\\" {
                    isEscaped = true
                } else if char == "\"" {
                    isQuoted = false
                }
                continue
            }
            switch char {
            case "\"": isQuoted = true
            case "[", "{":
                depth += 1
                if depth == 1 { continue }
            case "]", "}":
                depth -= 1
                if depth == 0 { continue }
            case "," where depth == 1:
                cells.append(cell)
                cell = ""
                continue
            default: break
            }
            cell.append(char)
        }
        if !cell.isEmpty || !cells.isEmpty { cells.append(cell) }
        return cells
    }
}
