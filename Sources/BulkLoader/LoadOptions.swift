import Client
import DataModel

/// What to load, and into which table.
public struct LoadOptions: Sendable {
    public enum Format: String, Sendable, CaseIterable { case csv, jsonl }

    /// Paths; `-` is standard input. `.gz` and `.xz` are read as they are.
    public var files: [String]
    public var keyspace: String
    public var table: String
    /// nil: by the file's name, CSV when it does not tell.
    public var format: Format?
    /// The columns that the fields are, in order; `-` leaves a field out. nil: the header's names.
    public var columns: [String]?
    /// Whether the first record of a CSV file holds names.
    public var hasHeader = true
    /// nil: a comma, or a tab for `.tsv`.
    public var delimiter: UInt8?
    /// Fields that are null, beside the empty one.
    public var nulls: [String] = []
    /// Makes keyspace and table, with types that fit the data.
    public var creates = false
    /// The primary key of a table that is made, as in CQL: `(origin, month), time_hour`. nil: the first column.
    public var key: String?
    /// Records that types are inferred from; nil: all of a file, the first 10,000 of standard input.
    public var inferRows: Int?
    public var connection = ConnectionOptions()
    public var connections = 2
    /// Rows under way on each connection.
    public var inFlight = 512
    public var consistency = Consistency.localOne
    /// Checks every record and sends none.
    public var isDryRun = false
    /// Where refused records go; nil: the file's name and `.rejected`.
    public var rejectFile: String?
    /// Whether to go on where an interrupted load of the same file ended.
    public var resumes = true
    /// Stops after this many refused records.
    public var maxErrors: Int?
    /// Writes finished tables into this directory instead of sending rows to a server.
    public var sstableDirectory: String?
    /// For `sstableDirectory`: CQL, or a node's own file of its schema, that makes the table.
    public var schemaFile: String?
    /// Bytes that `sstableDirectory` puts in order in memory before they become a file.
    public var sortBytes = 256 << 20
    /// Prints running figures on standard error.
    public var showsProgress = false

    public init(files: [String], keyspace: String, table: String) {
        self.files = files
        self.keyspace = keyspace
        self.table = table
        connection.driverName = "auspex-load"
    }

    /// What is out of range, or nil.
    var complaint: String? {
        if files.isEmpty { return "name a file to load, or - for standard input" }
        if connections < 1 || connections > 256 { return "--connections must be between 1 and 256" }
        if inFlight < 1 || inFlight > 32_000 { return "--in-flight must be between 1 and 32000" }
        if files.filter({ $0 == "-" }).count > 1 { return "standard input can be loaded once" }
        if sstableDirectory == nil && schemaFile != nil { return "--schema goes with --to-sstables; a server knows its tables" }
        if sstableDirectory != nil && creates == (schemaFile != nil) {
            return "--to-sstables wants to know the table: --create infers it from the data, --schema FILE says what it is"
        }
        if sortBytes < 1 << 20 { return "--sort-memory must be at least 1" }
        if delimiter == UInt8(ascii: "\"") || delimiter == 0x0A { return "--delimiter cannot be a quote or a line end" }
        return nil
    }
}

/// What a load came to.
public struct LoadReport: Sendable, Equatable {
    public var rows = 0
    public var refused = 0
    public var bytes = 0
    /// Rows acknowledged by an earlier run and not sent again.
    public var resumed = 0
    /// Counts that may have been added or not, of this run or an interrupted one before; they are in the reject file, not in `refused`.
    public var unknown = 0
    /// What `sstableDirectory` holds.
    public var sstables = 0
    public var seconds = 0.0
    public var rejectFiles: [String] = []
    /// The statement that made the table, when it was made or, dry, would be.
    public var createStatement: String?

    public init() {}

    public var rowsPerSecond: Double { seconds > 0 ? Double(rows) / seconds : 0 }
}

/// A load that could not be made.
public enum LoadError: Error, Sendable, Equatable {
    case usage(String)
    /// A file that cannot be read, or is not what it should be.
    case input(String)
    /// Table and data do not go together.
    case schema(String)
    case client(ClientError)
    /// Too many records were refused.
    case tooManyErrors(Int)

    public var message: String {
        switch self {
        case .usage(let text), .input(let text), .schema(let text): text
        case .client(let error): error.message
        case .tooManyErrors(let count): "stopped after \(count) refused records; see the reject file"
        }
    }
}
