import Admin
import ArgumentParser

struct AdminCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin", abstract: "Asks and tells a running node.",
        discussion: """
            Commands: status, info, tablestats, compactionstats, flush, compact, drain, snapshot, listsnapshots, clearsnapshot. \
            Words after the command are a keyspace and a table, or name=value: admin snapshot demo airports name=before-upgrade.
            """)

    @Argument(help: "The command.")
    var command: String

    @Argument(help: "What it is about: [KEYSPACE [TABLE]] [name=value ...]")
    var words: [String] = []

    @Option(help: "The node's address.")
    var host = "127.0.0.1"

    @Option(help: "The node's HTTP port.")
    var port: UInt16 = 9180

    @Option(help: "The name of a snapshot.")
    var name: String?

    @Option(help: "Seconds the command may take.")
    var timeout = 3600

    @Flag(help: "The answer as JSON.")
    var json = false

    func run() throws {
        guard !command.isEmpty, command.utf8.allSatisfy({ (0x61...0x7A).contains($0) || $0 == 0x2D }) else {
            throw ValidationError("a command is a word such as status, not '\(command)'")
        }
        var options = AdminOptions(command: command)
        options.host = host
        options.port = port
        options.timeout = .seconds(max(1, timeout))
        options.isJSON = json
        var plain = 0
        for word in words {
            if let equals = word.firstIndex(of: "=") {
                options.arguments.append((String(word[..<equals]), String(word[word.index(after: equals)...])))
            } else {
                guard plain < 2 else { throw ValidationError("a keyspace and a table at most, '\(word)' is too much") }
                options.arguments.append((plain == 0 ? "keyspace" : "table", word))
                plain += 1
            }
        }
        if let name { options.arguments.append(("name", name)) }
        let answer: String
        do throws(Admin.AdminError) {
            answer = try runAdmin(options)
        } catch {
            diagnostic(error.message)
            throw ExitCode(1)
        }
        print(answer, terminator: "")
    }
}
