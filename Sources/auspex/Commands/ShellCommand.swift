import ArgumentParser
import Client
import DataModel
import Shell

struct ShellCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell",
        abstract: "Runs CQL statements interactively, from a file, an argument or standard input.",
        discussion: "When not interactive, the exit code is 1 if a statement failed.")

    @OptionGroup var connection: ConnectionArguments

    @Option(name: [.customShort("e"), .long], help: "Statements to run instead of standard input.")
    var execute: String?

    @Option(name: [.customShort("f"), .long], help: "A file of statements to run instead of standard input.")
    var file: String?

    @Option(name: .shortAndLong, help: "The keyspace to use.")
    var keyspace: String?

    @Option(help: "The consistency level, such as LOCAL_QUORUM.")
    var consistency = "ONE"

    @Flag(inversion: .prefixedNo, help: "Use colours; by default if the output is a terminal.")
    var color: Bool?

    func run() throws {
        var options = ShellOptions()
        options.execute = execute
        options.file = file
        options.keyspace = keyspace
        options.colour = color
        guard let level = Consistency(name: consistency) else {
            throw ValidationError(
                "unknown consistency level \(consistency); there are "
                    + Consistency.allCases.map(\.name).joined(separator: ", "))
        }
        options.consistency = level
        guard execute == nil || file == nil else { throw ValidationError("give --execute or --file, not both") }
        try connection.withServer { network in
            do {
                let backend = try NetworkBackend(network)
                let code = runShell(options, backend: backend)
                if code != 0 { throw ExitCode(code) }
            } catch let error as ClientError {
                diagnostic(error.message)
                throw ExitCode(1)
            }
        }
    }
}
