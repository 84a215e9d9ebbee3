import Admin
import ArgumentParser
import Glibc

struct AdminCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin", abstract: "Runs an administrative command on a running node.",
        discussion: """
            Commands: status, info, tablestats, compactionstats, flush, compact, drain, snapshot, listsnapshots, \
            clearsnapshot, import; for the cluster: ring, gossipinfo, failuredetector, listhints, repair, \
            decommission, removenode HOST-ID. Words after the command are a keyspace and a table, or name=value: admin \
            snapshot demo airports name=before-upgrade. admin import KEYSPACE.TABLE DIR adds the sstables that auspex \
            load --to-sstables DIR made to the table, all of them or none, and prints how many rows they hold; DIR is \
            on the node's machine and is not changed. admin ring KEYSPACE shows the replicas of every range; admin \
            ring --simulate [nodes=6] [racks=1] [num_tokens=16] [partitions=256] compares how evenly the token \
            strategies divide the ring and how much data a join and a leave move. repair [KEYSPACE [TABLE]] compares \
            the replicas of the node's ranges and makes them equal; with --preview it only prints what would be sent; \
            after=TOKEN through=TOKEN restricts it to a range, everywhere=true covers the whole ring, fresh=true does \
            not continue an interrupted repair. decommission moves the node's data to the other nodes and removes it \
            from the cluster; removenode lets the other nodes take over the ranges of a dead member.
            """)

    @Argument(help: "The command.")
    var command: String

    @Argument(help: "The arguments: [KEYSPACE [TABLE]] [name=value ...]")
    var words: [String] = []

    @Option(help: "The node's address.")
    var host = "127.0.0.1"

    @Option(help: "The node's HTTP port.")
    var port: UInt16 = 9180

    @Option(help: "The name of a snapshot.")
    var name: String?

    @Option(help: "The timeout in seconds.")
    var timeout = 3600

    @Flag(help: "With repair: print what would be sent and send nothing.")
    var preview = false

    @Flag(help: "With ring: simulate the token strategies instead of showing the ring.")
    var simulate = false

    @Flag(help: "Print the answer as JSON.")
    var json = false

    /// Converts `KEYSPACE.TABLE DIR` to named arguments. Resolves DIR, because the node has another working directory.
    private func importWords() throws -> [String] {
        guard words.count == 2, let dot = words[0].firstIndex(of: "."), dot > words[0].startIndex,
            words[0].index(after: dot) < words[0].endIndex, !words[1].isEmpty
        else { throw ValidationError("import takes KEYSPACE.TABLE and a directory") }
        var directory = words[1]
        if let resolved = realpath(directory, nil) {
            directory = String(cString: resolved)
            free(resolved)
        }
        return [
            "keyspace=" + words[0][..<dot], "table=" + words[0][words[0].index(after: dot)...],
            "directory=" + directory,
        ]
    }

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
        for word in command == "import" ? try importWords() : words {
            if let equals = word.firstIndex(of: "=") {
                options.arguments.append((String(word[..<equals]), String(word[word.index(after: equals)...])))
            } else {
                guard plain < 2 else {
                    throw ValidationError("at most a keyspace and a table are allowed; '\(word)' is too many")
                }
                options.arguments.append((plain == 0 ? "keyspace" : "table", word))
                plain += 1
            }
        }
        if preview { options.arguments.append(("preview", "true")) }
        if simulate { options.arguments.append(("simulate", "true")) }
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
