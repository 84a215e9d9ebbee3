import DataModel
import Primitives

/// A command that the shell executes itself; all other statements go to the server.
enum ShellCommand: Equatable {
    case consistency(Consistency?)
    case serialConsistency(Consistency?)
    /// nil: show the setting; 0: off.
    case paging(Int?)
    case pagingOn
    case tracing(Bool?)
    case expand(Bool?)
    case source(String)
    /// Append output to a file, stop that, or show the current file.
    case capture(CaptureTarget)
    case showVersion, showHost
    case showSession(UUID)
    case login(user: String, password: String?)
    case clear
    case exit
    case help([String])
    case copy(String)

    enum CaptureTarget: Equatable {
        case show, off
        case file(String)
    }
}

extension ShellCommand {
    /// Parses a shell command; returns nil when the statement is for the server.
    static func parse(_ statement: String) throws(ShellError) -> ShellCommand? {
        let words = statement.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" }).map(
            String.init)
        guard let first = words.first?.lowercased() else { return nil }
        let rest = Array(words.dropFirst())
        switch first {
        case "consistency": return .consistency(try level(rest, "CONSISTENCY"))
        case "serial":
            guard let second = rest.first, second.lowercased() == "consistency" else {
                throw .command("Usage: SERIAL CONSISTENCY [SERIAL|LOCAL_SERIAL]")
            }
            let level = try level(Array(rest.dropFirst()), "SERIAL CONSISTENCY")
            guard level == nil || level == .serial || level == .localSerial else {
                throw .command("SERIAL CONSISTENCY takes SERIAL or LOCAL_SERIAL")
            }
            return .serialConsistency(level)
        case "paging":
            guard let word = rest.first?.lowercased() else { return .paging(nil) }
            if word == "on" { return .pagingOn }
            if word == "off" { return .paging(0) }
            guard let size = Int(word), size > 0, size <= Int(Int32.max) else {
                throw .command("Usage: PAGING [ON|OFF|rows]")
            }
            return .paging(size)
        case "tracing": return .tracing(try onOff(rest, "TRACING"))
        case "expand": return .expand(try onOff(rest, "EXPAND"))
        case "source":
            guard let path = unquoted(argument(statement)), !path.isEmpty else {
                throw .command("Usage: SOURCE 'file'")
            }
            return .source(path)
        case "capture":
            let text = argument(statement)
            if text.isEmpty { return .capture(.show) }
            if text.lowercased() == "off" { return .capture(.off) }
            guard let path = unquoted(text) else { throw .command("Usage: CAPTURE 'file', CAPTURE OFF or CAPTURE") }
            return .capture(.file(path))
        case "show":
            switch rest.first?.lowercased() {
            case "version": return .showVersion
            case "host": return .showHost
            case "session":
                guard rest.count == 2, let id = UUID(rest[1]) else {
                    throw .command("Usage: SHOW SESSION <id of a trace>")
                }
                return .showSession(id)
            default: throw .command("Usage: SHOW VERSION, SHOW HOST or SHOW SESSION <id>")
            }
        case "login":
            guard let user = rest.first else { throw .command("Usage: LOGIN <user> [password]") }
            return .login(user: user, password: rest.count > 1 ? unquoted(rest[1]) ?? rest[1] : nil)
        case "clear", "cls": return .clear
        case "exit", "quit": return .exit
        case "help", "?": return .help(rest)
        case "copy": return .copy(statement)
        default: return nil
        }
    }

    /// Returns the text after the first word.
    private static func argument(_ statement: String) -> String {
        let rest = statement.drop { $0 != " " && $0 != "\t" }.drop { $0 == " " || $0 == "\t" }
        return String(rest)
    }

    /// Returns the text between single quotes, or the text itself when it has none; nil when the quote is not closed.
    private static func unquoted(_ text: String) -> String? {
        guard text.hasPrefix("'") else { return text }
        guard text.count >= 2, text.hasSuffix("'") else { return nil }
        return String(text.dropFirst().dropLast()).replacing("''", with: "'")
    }

    private static func level(_ words: [String], _ command: String) throws(ShellError) -> Consistency? {
        guard let word = words.first else { return nil }
        guard words.count == 1, let level = Consistency(name: word) else {
            throw .command(
                "Improper \(command) command: there are " + Consistency.allCases.map(\.name).joined(separator: ", "))
        }
        return level
    }

    private static func onOff(_ words: [String], _ command: String) throws(ShellError) -> Bool? {
        switch words.first?.lowercased() {
        case nil: return nil
        case "on": return true
        case "off": return false
        default: throw .command("Usage: \(command) [ON|OFF]")
        }
    }
}
