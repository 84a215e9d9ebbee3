import ArgumentParser
import BulkLoader
import Client
import DataModel
import Glibc

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Loads CSV files or JSON lines into a table.",
        discussion: """
            - is standard input; .gz, .xz, .zst and .bz2 files are decompressed. An interrupted load of a file \
            continues where it stopped, according to the state file FILE.auspex-load. Refused records go to \
            FILE.rejected with their line number and the reason, and the exit code is 1.

            --to-sstables DIR writes sstables into a new directory, without a server; auspex admin import \
            KEYSPACE.TABLE DIR then adds them to a table of a running node. --schema or --create defines the table; \
            DIR/schema.cql holds the statements that create it. Rows are sorted in memory; whenever --sort-memory is \
            full, an sstable is written, and an interrupted load continues after it. Options about a server do not \
            apply: --host, --port, --embedded, --user, --in-flight, --consistency and the like; --connections is the \
            number of threads.

            With a counter table, values are added to the counters (an empty one adds nothing). An addition cannot be \
            sent twice: if an error of the server or a broken connection leaves its outcome unknown, the record goes \
            to FILE.rejected as "outcome unknown" and is not sent again. A resumed load reports how many those are. \
            Loading a whole file again adds all of it again; with --no-resume no state is kept.
            """)

    @Argument(help: "Files to load, in this order.")
    var files: [String]

    @Option(help: "The table: KEYSPACE.TABLE.")
    var into: String

    @OptionGroup var connection: ConnectionArguments

    @Option(help: "csv or jsonl; by default according to the file's suffix.")
    var format: String?

    @Option(help: "The columns of the fields, in order: a,b,c; - skips a field. By default the names in the header.")
    var columns: String?

    @Flag(inversion: .prefixedNo, help: "Whether the first record of a CSV file holds the field names.")
    var header = true

    @Option(help: "The field delimiter: one character, or tab.")
    var delimiter: String?

    @Option(
        name: .customLong("null"), parsing: .singleValue,
        help: "A text that means null, such as NA, besides the empty field. May be repeated.")
    var nulls: [String] = []

    @Flag(help: "Create the keyspace and the table, with types inferred from the data.")
    var create = false

    @Option(name: .customLong("to-sstables"), help: "Write sstables into this new directory, without a server.")
    var sstableDirectory: String?

    @Option(
        help: "For --to-sstables: a file that defines the table: CREATE statements, or the file schema of a snapshot.")
    var schema: String?

    @Option(help: "For --to-sstables: MiB of rows to sort in memory per sstable.")
    var sortMemory = 256

    @Option(help: "The primary key of a created table: \"(origin, month), time_hour\"; by default the first column.")
    var key: String?

    @Option(help: "Records to infer types from; by default all of a file, 10000 of standard input.")
    var inferRows: Int?

    @Option(help: "Connections, each on its own thread.")
    var connections = 2

    @Option(help: "Requests in flight per connection.")
    var inFlight = 512

    @Option(help: "The consistency level.")
    var consistency = "LOCAL_ONE"

    @Flag(help: "Check every record, send none.")
    var dryRun = false

    @Option(help: "The file for refused records; by default FILE.rejected.")
    var rejectFile: String?

    @Flag(inversion: .prefixedNo, help: "Continue an interrupted load of the same file.")
    var resume = true

    @Option(help: "Stop when more records than this are refused.")
    var maxErrors: Int?

    @Flag(help: "Print the result as one JSON object.")
    var json = false

    func run() throws {
        var options = try options()
        if options.sstableDirectory != nil {
            guard connection.embedded == nil else {
                throw ValidationError("--to-sstables and --embedded exclude each other")
            }
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
            if dryRun, let statement = report.createStatement { diagnostic("would create: \(statement)") }
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
        var options = LoadOptions(
            files: files, keyspace: String(into[..<dot]), table: String(into[into.index(after: dot)...]))
        if let format {
            guard let known = LoadOptions.Format(rawValue: format) else {
                throw ValidationError("--format is csv or jsonl, not \(format)")
            }
            options.format = known
        }
        options.columns = columns?.split(separator: ",", omittingEmptySubsequences: false).map {
            String($0.drop { $0 == " " })
        }
        options.hasHeader = header
        if let delimiter {
            let text = delimiter == "tab" || delimiter == "\\t" ? "\t" : delimiter
            guard text.utf8.count == 1, let byte = text.utf8.first else {
                throw ValidationError("--delimiter takes one character, or tab")
            }
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
                "unknown consistency level \(consistency); there are "
                    + Consistency.allCases.map(\.name).joined(separator: ", "))
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
        var text =
            "\(report.rows) rows \(isDryRun ? "fit" : "loaded") in \(seconds) s, \(Int(report.rowsPerSecond)) rows/s"
        if report.resumed > 0 { text += "; \(report.resumed) were loaded before" }
        if report.sstables > 0 { text += "; \(report.sstables) sstables" }
        if report.unknown > 0 { text += "; \(report.unknown) counter updates with unknown outcome" }
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
