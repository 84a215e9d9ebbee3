import ArgumentParser
import LinuxPlatform
import Platform
import SSTableTool

/// What all commands on table files take.
struct SSTableArguments: ParsableArguments {
    @Argument(help: "A .sst file, a table's directory, or a data directory.")
    var path: String

    @Flag(help: "One JSON object a line.")
    var json = false

    var tool: SSTableTool { SSTableTool(system: PosixFileSystem(), time: SystemTime(), json: json) { print($0) } }

    /// Runs `body`; what goes wrong is said in one line.
    func attempt(_ body: () throws -> Void) throws {
        do { try body() } catch let code as ExitCode { throw code } catch {
            diagnostic("auspex sstable: \(error)")
            throw ExitCode(1)
        }
    }
}

struct SSTableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sstable", abstract: "Looks into the table files of a stopped or running node, and merges them.",
        subcommands: [List.self, Describe.self, Dump.self, Verify.self, Compact.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One line a file.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws { try arguments.attempt { try arguments.tool.list(arguments.path) } }
    }

    struct Describe: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Everything a file says of itself: bounds, counts, histogram, filter.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws { try arguments.attempt { try arguments.tool.describe(arguments.path) } }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Rows and tombstones, one JSON object a line.")
        @OptionGroup var arguments: SSTableArguments
        @Option(help: "Rows at most.") var limit = Int.max
        func run() throws { try arguments.attempt { try arguments.tool.dump(arguments.path, limit: limit) } }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks every byte; names each damaged block. Exit status 1 when anything is wrong.")
        @OptionGroup var arguments: SSTableArguments
        func run() throws {
            try arguments.attempt {
                if try !arguments.tool.verify(arguments.path) { throw ExitCode(1) }
            }
        }
    }

    struct Compact: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Merges all files of each table into one; the node must be stopped.")
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

/// Keeps a node from starting while its files are changed.
enum DataDirectoryLock {
    /// Locks the data directory a path lies in; nil when it lies in none.
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
