import DataModel
import Messages
import Primitives

/// What a request says beside its statement and values (native_protocol_v5.spec, 4.1.4).
public struct QueryOptions: Sendable {
    public var consistency: Consistency
    public var serialConsistency: Consistency
    /// Rows a page; 0 or less: no paging.
    public var pageSize: Int
    /// As the previous page gave it.
    public var pagingState: [UInt8]?
    /// The write timestamp, microseconds, when the client brings its own.
    public var timestamp: Int64?
    /// Seconds since 1970 that stand for now, when the client says so (v5).
    public var nowInSeconds: Int32?
    /// The keyspace of unqualified names.
    public var keyspace: String?
    public var isTracing: Bool
    /// Where the client is, for traces.
    public var clientAddress: String
    /// Reads and writes through a coordinator; nil: the replica in this process is all there is.
    public var port: (any ReplicaPort)?

    public init(
        consistency: Consistency = .one, serialConsistency: Consistency = .serial, pageSize: Int = 0, pagingState: [UInt8]? = nil,
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
    /// What the client is told of it.
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
    /// Names the request in `system_traces`, when it was traced.
    public var tracingID: UUID?

    public init(result: StatementResult, warnings: [String] = [], tracingID: UUID? = nil) {
        self.result = result
        self.warnings = warnings
        self.tracingID = tracingID
    }
}

/// The numbers at which requests warn or fail; the node's configuration sets them.
public struct QueryLimits: Sendable {
    public var tombstoneWarnThreshold = 1000
    public var tombstoneFailureThreshold = 100_000
    public var batchSizeWarnThreshold = 5 << 10
    public var batchSizeFailThreshold = 50 << 10
    public var unloggedBatchAcrossPartitionsWarnThreshold = 10
    public var maxMutationSize = 16 << 20
    /// Bytes of one answer; a page that grows past it ends early, an answer that cannot be paged fails.
    public var maxResultSize = 64 << 20
    /// Partitions or rows that one statement may name (the product of its INs).
    public var maxCartesianProduct = 65_536
    /// Bytes of statement texts, about, that stay prepared.
    public var preparedStatementsCacheSize = 10 << 20
    public var readTimeout = Duration.seconds(5)
    public var rangeTimeout = Duration.seconds(10)
    /// The largest value that may be written into one column.
    public var maxValueSize = 256 << 20
    /// Requests that take longer are reported to the host; zero: none are.
    public var slowQuery = Duration.milliseconds(500)

    public init() {}
}
