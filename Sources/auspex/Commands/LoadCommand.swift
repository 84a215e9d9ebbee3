import ArgumentParser
import BulkLoader
import Client
import DataModel
import Glibc

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "CSV and JSON lines into a table.",
        discussion: """
            - is standard input; .gz, .xz, .zst and .bz2 files are read as they are. An interrupted load of a file goes on where it ended (FILE.auspex-load \
            beside it knows). What is refused goes to FILE.rejected with its line and the reason, and the exit code is 1.

            --to-sstables DIR writes finished tables into a new directory, without a server; auspex admin import KEYSPACE.TABLE DIR then takes them into \
            a running node. The table is what --schema or --create says; DIR/schema.cql makes it. Rows are put in order in memory, and each time that is \
            full (--sort-memory) a file is written, up to which an interrupted load is resumed. What is about a server does not apply: --host, --port, \
            --embedded, --user, --in-flight, --consistency and the like; --connections is the number of threads.

            Into a table of counters, values are added to the counters (an empty one adds nothing). A count cannot be sent twice: where the server or a \
            broken connection leaves open whether it was added, the record goes to FILE.rejected as "outcome unknown" and is not sent again. A resumed load \
            says how many those are; loading a whole file again adds it again, and with --no-resume nothing is remembered.
            """)

    @Argument(help: "Files to load, in this order.")
    var files: [String]

    @Option(help: "The table: KEYSPACE.TABLE.")
    var into: String

    @OptionGroup var connection: ConnectionArguments

    @Option(help: "csv or jsonl; without it, what the file's name says.")
    var format: String?

    @Option(help: "The columns that the fields are, in order: a,b,c; - leaves a field out. Without it, the header's names.")
    var columns: String?

    @Flag(inversion: .prefixedNo, help: "Whether the first record of a CSV file holds names.")
    var header = true

    @Option(help: "What stands between fields: one character, or tab.")
    var delimiter: String?

    @Option(
        name: .customLong("null"), parsing: .singleValue,
        help: "A field that is null, such as NA; the empty one always is. May be given again.")
    var nulls: [String] = []

    @Flag(help: "Make keyspace and table, with types that fit the data.")
    var create = false

    @Option(name: .customLong("to-sstables"), help: "Write finished tables into this new directory, without a server.")
    var sstableDirectory: String?

    @Option(help: "For --to-sstables: a file of CREATE statements, or a node's own data/schema, that makes the table.")
    var schema: String?

    @Option(help: "For --to-sstables: MiB of rows that are put in order in memory before they become a file.")
    var sortMemory = 256

    @Option(help: "The primary key of a table that is made: \"(origin, month), time_hour\"; without it the first column.")
    var key: String?

    @Option(help: "Records that types are inferred from; without it all of a file, 10000 of standard input.")
    var inferRows: Int?

    @Option(help: "Connections, each with a thread of its own.")
    var connections = 2

    @Option(help: "Rows under way on each connection.")
    var inFlight = 512

    @Option(help: "The consistency level.")
    var consistency = "LOCAL_ONE"

    @Flag(help: "Check every record, send none.")
    var dryRun = false

    @Option(help: "Where refused records go.")
    var rejectFile: String?

    @Flag(inversion: .prefixedNo, help: "Go on where an interrupted load of the same file ended.")
    var resume = true

    @Option(help: "Stop after this many refused records.")
    var maxErrors: Int?

    @Flag(help: "Print one JSON object last.")
    var json = false

    func run() throws {
        var options = try options()
        if options.sstableDirectory != nil {
            guard connection.embedded == nil else { throw ValidationError("--to-sstables and --embedded are two places to load into") }
            return try load(options)
        }
        try connection.withServer { network in
            options.connection = network
            options.connection.driverName = "auspex-load"
            try load(options)
        }
    }

    private func load(_ options: LoadOptions) throws {
        do {
            let report = try runLoad(options)
            for path in report.rejectFiles { diagnostic("refused records are in \(path)") }
            if dryRun, let statement = report.createStatement { diagnostic("would make: \(statement)") }
            print(json ? LoadCommand.json(report) : LoadCommand.text(report, isDryRun: dryRun))
            if report.refused + report.unknown > 0 { throw ExitCode(1) }
        } catch let error as LoadError {
            if case .usage(let text) = error { throw ValidationError(text) }
            diagnostic(error.message)
            throw ExitCode(1)
        }
    }

    private func options() throws -> LoadOptions {
        guard let dot = into.firstIndex(of: "."), into.index(after: dot) < into.endIndex, dot > into.startIndex else {
            throw ValidationError("--into takes KEYSPACE.TABLE, not '\(into)'")
        }
        var options = LoadOptions(files: files, keyspace: String(into[..<dot]), table: String(into[into.index(after: dot)...]))
        if let format {
            guard let known = LoadOptions.Format(rawValue: format) else { throw ValidationError("--format is csv or jsonl, not \(format)") }
            options.format = known
        }
        options.columns = columns?.split(separator: ",", omittingEmptySubsequences: false).map { String($0.drop { $0 == " " }) }
        options.hasHeader = header
        if let delimiter {
            let text = delimiter == "tab" || delimiter == "\\t" ? "\t" : delimiter
            guard text.utf8.count == 1, let byte = text.utf8.first else { throw ValidationError("--delimiter takes one character, or tab") }
            options.delimiter = byte
        }
        options.nulls = nulls
        options.creates = create
        options.sstableDirectory = sstableDirectory
        options.schemaFile = schema
        options.sortBytes = max(0, min(sortMemory, 1 << 20)) << 20
        options.key = key
        options.inferRows = inferRows
        options.connections = connections
        options.inFlight = inFlight
        guard let level = Consistency(name: consistency) else {
            throw ValidationError(
                "unknown consistency level \(consistency); there are " + Consistency.allCases.map(\.name).joined(separator: ", "))
        }
        options.consistency = level
        options.isDryRun = dryRun
        options.rejectFile = rejectFile
        options.resumes = resume
        options.maxErrors = maxErrors
        options.showsProgress = isatty(2) != 0
        return options
    }

    private static func text(_ report: LoadReport, isDryRun: Bool) -> String {
        let seconds = Double(Int(report.seconds * 100)) / 100
        var text = "\(report.rows) rows \(isDryRun ? "fit" : "loaded") in \(seconds) s, \(Int(report.rowsPerSecond)) rows/s"
        if report.resumed > 0 { text += "; \(report.resumed) were loaded before" }
        if report.sstables > 0 { text += "; \(report.sstables) sstables" }
        if report.unknown > 0 { text += "; \(report.unknown) may have been counted or not" }
        if report.refused > 0 { text += "; \(report.refused) refused" }
        return text
    }

    private static func json(_ report: LoadReport) -> String {
        let milliseconds = Int(report.seconds * 1000)
        return "{\"rows\":\(report.rows),\"refused\":\(report.refused),\"unknown\":\(report.unknown),"
            + "\"sstables\":\(report.sstables),\"resumed\":\(report.resumed),\"bytes\":\(report.bytes),"
            + "\"seconds\":\(Double(milliseconds) / 1000),\"rows_per_second\":\(Int(report.rowsPerSecond))}"
    }
}
