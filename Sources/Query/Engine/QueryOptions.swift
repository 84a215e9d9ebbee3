import Coordinator
import DataModel
import Messages
import Primitives

/// The options of a request (native_protocol_v5.spec, 4.1.4).
public struct QueryOptions: Sendable {
    public var consistency: Consistency
    public var serialConsistency: Consistency
    /// Rows per page; 0 or less: no paging.
    public var pageSize: Int
    /// The paging state that the previous page returned.
    public var pagingState: [UInt8]?
    /// The client's write timestamp, in microseconds; nil: the server chooses.
    public var timestamp: Int64?
    /// The client's current time, in seconds since 1970 (v5); nil: the server's clock.
    public var nowInSeconds: Int32?
    /// The keyspace for unqualified names.
    public var keyspace: String?
    public var isTracing: Bool
    /// The client's address, for traces.
    public var clientAddress: String
    /// The port to the coordinator; nil: the replica in this process is the only one.
    public var port: (any ReplicaPort)?

    public init(
        consistency: Consistency = .one, serialConsistency: Consistency = .serial, pageSize: Int = 0,
        pagingState: [UInt8]? = nil,
        timestamp: Int64? = nil, nowInSeconds: Int32? = nil, keyspace: String? = nil, isTracing: Bool = false,
        clientAddress: String = "127.0.0.1"
    ) {
        self.consistency = consistency
        self.serialConsistency = serialConsistency
        self.pageSize = pageSize
        self.pagingState = pagingState
        self.timestamp = timestamp
        self.nowInSeconds = nowInSeconds
        self.keyspace = keyspace
        self.isTracing = isTracing
        self.clientAddress = clientAddress
    }
}

extension ServerError {
    /// Converts a replica's error into the client's.
    init(_ error: ReplicaError) {
        switch error {
        case .server(let error): self = error
        case .unknownTable(let id): self = .unknownTable(id)
        case .overloaded(let message): self = ServerError(.overloaded, message)
        case .storage(let message): self = ServerError(.serverError, message)
        }
    }
}

/// The answer to a request.
public struct Answer: Sendable {
    public var result: StatementResult
    public var warnings: [String]
    /// The id of the trace in `system_traces`, if the request was traced.
    public var tracingID: UUID?

    public init(result: StatementResult, warnings: [String] = [], tracingID: UUID? = nil) {
        self.result = result
        self.warnings = warnings
        self.tracingID = tracingID
    }
}

/// The thresholds for warnings and errors, and the timeouts of local work: a part of the node's configuration.
public struct QueryLimits: Sendable, Equatable {
    public var tombstoneWarnThreshold = 1000
    public var tombstoneFailureThreshold = 100_000
    public var batchSizeWarnThreshold = 5 << 10
    public var batchSizeFailThreshold = 50 << 10
    public var unloggedBatchAcrossPartitionsWarnThreshold = 10
    public var maxMutationSize = 16 << 20
    /// Bytes of one answer. A page ends early at a quarter of this; an answer that exceeds it fails.
    public var maxResultSize = 64 << 20
    /// Partitions or rows that one statement may name (the product of its IN lists).
    public var maxCartesianProduct = 65_536
    /// The approximate number of bytes that cached prepared statements may use.
    public var preparedStatementsCacheSize = 10 << 20
    public var readTimeout = Duration.seconds(5)
    public var rangeTimeout = Duration.seconds(10)
    /// Of everything but reads, as far as it does not wait for other nodes.
    public var requestTimeout = Duration.seconds(10)
    /// The largest value, in bytes, that may be written into one column.
    public var maxValueSize = 256 << 20
    /// Requests that take longer are reported to the host; zero: none.
    public var slowQuery = Duration.milliseconds(500)

    public init() {}

    /// Checks how many partitions or rows a statement names.
    func checkProduct(_ left: Int, _ right: Int, of what: String = "rows") throws(ServerError) {
        guard left * right <= maxCartesianProduct else {
            throw .invalid(
                "The statement names \(left * right) \(what); at most \(maxCartesianProduct) are allowed. Use smaller INs."
            )
        }
    }
}
