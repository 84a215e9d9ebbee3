import Client
import DataModel

/// The options of a load.
public struct LoadOptions: Sendable {
    public enum Format: String, Sendable, CaseIterable { case csv, jsonl }

    /// Paths; `-` is standard input. Files ending in `.gz`, `.xz`, `.zst` or `.bz2` are decompressed.
    public var files: [String]
    public var keyspace: String
    public var table: String
    /// nil: by the file's suffix, CSV for an unknown one.
    public var format: Format?
    /// The columns of the fields, in order; `-` skips a field. nil: the names in the header.
    public var columns: [String]?
    /// Whether the first record of a CSV file holds the field names.
    public var hasHeader = true
    /// nil: a comma, or a tab for `.tsv`.
    public var delimiter: UInt8?
    /// Texts that mean null, besides the empty field.
    public var nulls: [String] = []
    /// Whether to create the keyspace and the table, with types inferred from the data.
    public var creates = false
    /// The primary key of a created table, as in CQL: `(origin, month), time_hour`. nil: the first column.
    public var key: String?
    /// The number of records to infer types from; nil: all records of a file, the first 10,000 of standard input.
    public var inferRows: Int?
    public var connection = ConnectionOptions()
    public var connections = 2
    /// The number of requests in flight per connection.
    public var inFlight = 512
    public var consistency = Consistency.localOne
    /// Whether to check every record and send none.
    public var isDryRun = false
    /// The file for refused records; nil: the input's name with `.rejected` appended.
    public var rejectFile: String?
    /// Whether to continue an interrupted load of the same file.
    public var resumes = true
    /// The load stops when more records than this are refused; nil: no limit.
    public var maxErrors: Int?
    /// Writes sstables into this directory instead of sending rows to a server.
    public var sstableDirectory: String?
    /// For `sstableDirectory`: a file that defines the table, either CQL or the file `schema` of a snapshot or of an
    /// earlier load.
    public var schemaFile: String?
    /// For `sstableDirectory`: the bytes to collect and sort in memory per sstable.
    public var sortBytes = 256 << 20
    /// Whether to show progress on standard error.
    public var showsProgress = false

    public init(files: [String], keyspace: String, table: String) {
        self.files = files
        self.keyspace = keyspace
        self.table = table
        connection.driverName = "auspex-load"
    }

    /// Why the options are invalid; nil when they are valid.
    var complaint: String? {
        if files.isEmpty { return "name a file to load, or - for standard input" }
        if connections < 1 || connections > 256 { return "--connections must be between 1 and 256" }
        if inFlight < 1 || inFlight > 32_000 { return "--in-flight must be between 1 and 32000" }
        if files.filter({ $0 == "-" }).count > 1 { return "standard input can be loaded once" }
        if sstableDirectory == nil && schemaFile != nil {
            return "--schema is only for --to-sstables; a server knows its tables"
        }
        if sstableDirectory != nil && creates == (schemaFile != nil) {
            return
                "--to-sstables needs a table definition: give either --create, to infer it from the data, or --schema FILE"
        }
        if sortBytes < 1 << 20 { return "--sort-memory must be at least 1" }
        if delimiter == UInt8(ascii: "\"") || delimiter == 0x0A { return "--delimiter cannot be a quote or a line end" }
        return nil
    }
}

/// The result of a load.
public struct LoadReport: Sendable, Equatable {
    public var rows = 0
    public var refused = 0
    public var bytes = 0
    /// Rows acknowledged in an earlier run and not sent again.
    public var resumed = 0
    /// Counter updates with unknown outcome, of this run or an interrupted earlier one. They are in the reject file,
    /// but not in `refused`.
    public var unknown = 0
    /// The number of sstables in `sstableDirectory`.
    public var sstables = 0
    public var seconds = 0.0
    public var rejectFiles: [String] = []
    /// The statement that created the table, or would create it in a dry run; nil when the table existed.
    public var createStatement: String?

    public init() {}

    public var rowsPerSecond: Double { seconds > 0 ? Double(rows) / seconds : 0 }
}

/// Why a load failed.
public enum LoadError: Error, Sendable, Equatable {
    case usage(String)
    /// A file cannot be read or written, or has invalid content.
    case input(String)
    /// The table does not fit the data.
    case schema(String)
    case client(ClientError)
    /// More records were refused than allowed.
    case tooManyErrors(Int)

    public var message: String {
        switch self {
        case .usage(let text), .input(let text), .schema(let text): text
        case .client(let error): error.message
        case .tooManyErrors(let count): "stopped after \(count) refused records; see the reject file"
        }
    }
}
