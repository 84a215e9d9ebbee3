import ArgumentParser

/// The one binary: each subcommand is a room of its own.
@main
struct Auspex: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auspex",
        abstract: "A wide-column database server that speaks CQL, and its tools.",
        subcommands: [
            ServerCommand.self, ShellCommand.self, LoadCommand.self, SSTableCommand.self, AdminCommand.self, StressCommand.self,
            SimulateCommand.self,
        ]
    )
}
