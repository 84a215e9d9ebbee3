import ArgumentParser
import Query

/// The single binary, with one subcommand per tool.
@main
struct Auspex: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auspex",
        abstract: "A wide-column database server that speaks CQL, and its tools.",
        version: "auspex: CQL \(NodeInfo.cqlVersion), release_version \(NodeInfo.releaseVersion)",
        subcommands: [
            ServerCommand.self, ShellCommand.self, LoadCommand.self, SSTableCommand.self, AdminCommand.self,
            StressCommand.self,
            SimulateCommand.self,
        ]
    )
}
