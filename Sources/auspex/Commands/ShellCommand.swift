import ArgumentParser
import Client
import DataModel
import Shell

struct ShellCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell", abstract: "Interactive queries; also from a file, an argument or standard input.",
        discussion: "Off a terminal the exit code is 1 when a statement failed.")

    @OptionGroup var connection: ConnectionArguments

    @Option(name: [.customShort("e"), .long], help: "Statements to run, instead of reading them.")
    var execute: String?

    @Option(name: [.customShort("f"), .long], help: "A file of statements to run.")
    var file: String?

    @Option(name: .shortAndLong, help: "The keyspace in use.")
    var keyspace: String?

    @Option(help: "The consistency level, such as LOCAL_QUORUM.")
    var consistency = "ONE"

    @Flag(inversion: .prefixedNo, help: "Colours; without either on a terminal.")
    var color: Bool?

    func run() throws {
        var options = ShellOptions()
        options.execute = execute
        options.file = file
        options.keyspace = keyspace
        options.colour = color
        guard let level = Consistency(name: consistency) else {
            throw ValidationError(
                "unknown consistency level \(consistency); there are " + Consistency.allCases.map(\.name).joined(separator: ", "))
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
