import ArgumentParser
import Client
import DataModel
import Glibc
import Stress

struct StressCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stress", abstract: "Generates load on this or any other CQL server and measures the latency.",
        discussion: """
            Creates its keyspace and table if they are missing. All workloads but write first load the rows if they \
            are missing. conditional updates rows by lightweight transactions (IF EXISTS); read with --consistency \
            SERIAL uses serial reads. With --rate, a latency counts from the time the operation was due, so that \
            delays by a stalled server are included.
            """)

    @Argument(help: "\(StressOptions.Workload.names).")
    var workload: String

    @OptionGroup var connection: ConnectionArguments

    @Option(help: "The number of rows in the table.")
    var rows = 1_000_000

    @Option(help: "How long to run; by default --rows operations (a scan: once over the table).")
    var seconds: Double?

    @Option(help: "Connections, each on its own thread.")
    var connections = 4

    @Option(help: "Requests in flight per connection.")
    var inFlight = 64

    @Option(help: "Bytes of each column's value.")
    var valueBytes = 34

    @Option(help: "Columns besides the key.")
    var columns = 5

    @Option(help: "uniform, zipf or sequential; by default writes are sequential and reads uniform.")
    var distribution: String?

    @Option(help: "The consistency level.")
    var consistency = "LOCAL_ONE"

    @Option(help: "Operations per second over all connections; by default unlimited.")
    var rate: Double?

    @Option(help: "The fraction of writes in a mixed load, 0 to 1.")
    var writeShare = 0.5

    @Option(help: "The keyspace.")
    var keyspace = "stress"

    @Option(help: "The table.")
    var table = "standard1"

    @Option(help: "The replication factor, if the keyspace is created.")
    var replicationFactor = 1

    @Option(help: "The seed of random choices.")
    var seed: UInt64 = 1

    @Flag(help: "Print the result as one JSON object.")
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
                "unknown consistency level \(consistency); there are "
                    + Consistency.allCases.map(\.name).joined(separator: ", "))
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
