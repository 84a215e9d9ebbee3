import Client
import DataModel

/// What load to generate.
public struct StressOptions: Sendable {
    /// `conditional` changes rows that are there by lightweight transactions (`IF EXISTS`).
    public enum Workload: String, Sendable, CaseIterable {
        case write, read, mixed, scan, conditional

        /// Every name, as a sentence lists them.
        public static var names: String {
            let names = allCases.map(\.rawValue)
            return names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
        }
    }
    public enum Distribution: String, Sendable, CaseIterable { case uniform, zipf, sequential }

    public var workload: Workload
    public var connection = ConnectionOptions()
    /// Rows of the table: the keys are the numbers below it.
    public var rows = 1_000_000
    /// How long to run; nil: `rows` operations.
    public var seconds: Double?
    public var connections = 4
    /// Requests under way on each connection.
    public var inFlight = 64
    public var valueBytes = 34
    public var columns = 5
    /// nil: sequential for writes, uniform for reads.
    public var distribution: Distribution?
    public var consistency = Consistency.localOne
    /// Operations a second in all; nil: as many as are answered.
    public var rate: Double?
    /// The share of writes in a mixed load.
    public var writeShare = 0.5
    public var keyspace = "stress"
    public var table = "standard1"
    public var replicationFactor = 1
    public var seed: UInt64 = 1
    /// Prints the running figures on standard error.
    public var showsProgress = false

    public init(_ workload: Workload) {
        self.workload = workload
        connection.version = .v4
        connection.driverName = "auspex-stress"
    }

    /// What is out of range, or nil.
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

/// A run that could not be made.
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
