import ArgumentParser
import LinuxPlatform
import Platform
import SSTableTool

/// The arguments common to all commands on sstables.
struct SSTableArguments: ParsableArguments {
    @Argument(help: "A .sst file, a table's directory, or a data directory.")
    var path: String

    @Flag(help: "Print one JSON object per line.")
    var json = false

    var tool: SSTableTool { SSTableTool(system: PosixFileSystem(), time: SystemTime(), json: json) { print($0) } }

    /// Runs `body` and prints errors on one line.
    func attempt(_ body: () throws -> Void) throws {
        do { try body() } catch let code as ExitCode { throw code } catch {
            diagnostic("auspex sstable: \(error)")
            throw ExitCode(1)
        }
    }
}

struct SSTableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sstable", abstract: "Inspects the sstables of a stopped or running node, and merges them.",
        subcommands: [List.self, Describe.self, Dump.self, Verify.self, Compact.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists sstables, one line each.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws { try arguments.attempt { try arguments.tool.list(arguments.path) } }
    }

    struct Describe: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the metadata of an sstable: bounds, counts, histogram, filter.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws { try arguments.attempt { try arguments.tool.describe(arguments.path) } }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints rows and tombstones, one JSON object per line.")
        @OptionGroup var arguments: SSTableArguments
        @Option(help: "The greatest number of rows.") var limit = Int.max
        func run() throws { try arguments.attempt { try arguments.tool.dump(arguments.path, limit: limit) } }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks every byte; names each damaged block. The exit status is 1 when anything is damaged.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws {
            try arguments.attempt {
                if try !arguments.tool.verify(arguments.path) { throw ExitCode(1) }
            }
        }
    }

    struct Compact: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Merges all sstables of each table into one; the node must be stopped.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws {
            try arguments.attempt {
                let lock = try DataDirectoryLock.take(arguments.path)
                defer { lock?.close() }
                try arguments.tool.compact(arguments.path)
            }
        }
    }
}

/// Keeps a node from starting while its files are being changed.
enum DataDirectoryLock {
    /// Locks the data directory that contains a path; nil when the path is in none.
    static func take(_ path: String) throws -> (any File)? {
        let system = PosixFileSystem()
        var directory = path
        while true {
            if system.exists(directory + "/LOCK") { return try system.lock(directory + "/LOCK") }
            guard let slash = directory.lastIndex(of: "/"), slash > directory.startIndex else { return nil }
            directory = String(directory[..<slash])
        }
    }
}
