import Client
import DataModel

/// The options of a stress run.
public struct StressOptions: Sendable {
    /// `conditional` updates existing rows by lightweight transactions (`IF EXISTS`).
    public enum Workload: String, Sendable, CaseIterable {
        case write, read, mixed, scan, conditional

        /// All names, as in a sentence: "a, b or c".
        public static var names: String {
            let names = allCases.map(\.rawValue)
            return names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
        }
    }
    public enum Distribution: String, Sendable, CaseIterable { case uniform, zipf, sequential }

    public var workload: Workload
    public var connection = ConnectionOptions()
    /// The number of rows in the table; keys are the numbers from 0 below it.
    public var rows = 1_000_000
    /// How long to run; nil: until `rows` operations are done.
    public var seconds: Double?
    public var connections = 4
    /// The number of requests in flight per connection.
    public var inFlight = 64
    public var valueBytes = 34
    public var columns = 5
    /// nil: sequential for writes, uniform otherwise.
    public var distribution: Distribution?
    public var consistency = Consistency.localOne
    /// Operations per second over all connections; nil: unlimited.
    public var rate: Double?
    /// The fraction of writes in a mixed load.
    public var writeShare = 0.5
    public var keyspace = "stress"
    public var table = "standard1"
    public var replicationFactor = 1
    public var seed: UInt64 = 1
    /// Whether to show progress on standard error.
    public var showsProgress = false

    public init(_ workload: Workload) {
        self.workload = workload
        connection.version = .v4
        connection.driverName = "auspex-stress"
    }

    /// Why the options are invalid; nil when they are valid.
    var complaint: String? {
        if rows < 1 { return "--rows must be at least 1" }
        if connections < 1 || connections > 1024 { return "--connections must be between 1 and 1024" }
        if inFlight < 1 || inFlight > 32_000 { return "--in-flight must be between 1 and 32000" }
        if valueBytes < 0 || valueBytes > 8 << 20 { return "--value-bytes must be between 0 and 8388608" }
        if columns < 1 || columns > 1000 { return "--columns must be between 1 and 1000" }
        if let seconds, seconds <= 0 { return "--seconds must be more than 0" }
        if let rate, rate <= 0 { return "--rate must be more than 0" }
        if writeShare < 0 || writeShare > 1 { return "--write-share must be between 0 and 1" }
        return nil
    }
}

/// Why a run failed.
public enum StressError: Error, Sendable {
    case usage(String)
    case client(ClientError)

    public var message: String {
        switch self {
        case .usage(let text): text
        case .client(let error): error.message
        }
    }
}
