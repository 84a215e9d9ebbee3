import ArgumentParser
import Client
import DataModel
import Glibc
import Stress

struct StressCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stress", abstract: "Load and its latency, against this server or any other that speaks CQL.",
        discussion: """
            Makes its keyspace and table where they are missing; all but write load the rows first when they are not there. conditional changes \
            rows by lightweight transactions (IF EXISTS); read with --consistency SERIAL reads by them. \
            With --rate, latencies run from when an operation was due, so that what a stalled server delays counts.
            """)

    @Argument(help: "\(StressOptions.Workload.names).")
    var workload: String

    @OptionGroup var connection: ConnectionArguments

    @Option(help: "Rows of the table.")
    var rows = 1_000_000

    @Option(help: "How long to run; without it, --rows operations (a scan: once over the table).")
    var seconds: Double?

    @Option(help: "Connections, each with a thread of its own.")
    var connections = 4

    @Option(help: "Requests under way on each connection.")
    var inFlight = 64

    @Option(help: "Bytes of each column's value.")
    var valueBytes = 34

    @Option(help: "Columns beside the key.")
    var columns = 5

    @Option(help: "uniform, zipf or sequential; without it, writes are sequential and reads uniform.")
    var distribution: String?

    @Option(help: "The consistency level.")
    var consistency = "LOCAL_ONE"

    @Option(help: "Operations a second in all; without it, as many as are answered.")
    var rate: Double?

    @Option(help: "The share of writes in a mixed load.")
    var writeShare = 0.5

    @Option(help: "The keyspace.")
    var keyspace = "stress"

    @Option(help: "The table.")
    var table = "standard1"

    @Option(help: "Replicas, when the keyspace is made.")
    var replicationFactor = 1

    @Option(help: "Where the random choices begin.")
    var seed: UInt64 = 1

    @Flag(help: "Print one JSON object last.")
    var json = false

    func run() throws {
        guard let workload = StressOptions.Workload(rawValue: workload) else {
            throw ValidationError("unknown workload \(workload); there are \(StressOptions.Workload.names)")
        }
        var options = StressOptions(workload)
        let version = options.connection.version
        options.connection = try connection.options()
        options.connection.version = options.connection.version ?? version
        options.connection.driverName = "auspex-stress"
        options.rows = rows
        options.seconds = seconds
        options.connections = connections
        options.inFlight = inFlight
        options.valueBytes = valueBytes
        options.columns = columns
        if let distribution {
            guard let known = StressOptions.Distribution(rawValue: distribution) else {
                throw ValidationError("unknown distribution \(distribution); there are uniform, zipf and sequential")
            }
            options.distribution = known
        }
        guard let level = Consistency(name: consistency) else {
            throw ValidationError(
                "unknown consistency level \(consistency); there are " + Consistency.allCases.map(\.name).joined(separator: ", "))
        }
        options.consistency = level
        options.rate = rate
        options.writeShare = writeShare
        options.keyspace = keyspace
        options.table = table
        options.replicationFactor = replicationFactor
        options.seed = seed
        options.showsProgress = isatty(2) != 0
        do {
            let report = try runStress(options)
            if json {
                for message in report.messages { diagnostic(message) }
                print(report.json)
            } else {
                print(report.text)
            }
            if report.brokenConnections > 0 { throw ExitCode(1) }
        } catch let error as StressError {
            if case .usage(let text) = error { throw ValidationError(text) }
            diagnostic(error.message)
            throw ExitCode(1)
        }
    }
}
