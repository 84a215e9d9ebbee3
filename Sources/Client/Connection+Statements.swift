import DataModel
import NativeProtocol
import Primitives

/// The result of a statement with its warnings and its tracing id.
public struct StatementAnswer: Sendable {
    public var result: StatementResult
    public var warnings: [String]
    public var tracingID: UUID?

    public init(result: StatementResult, warnings: [String] = [], tracingID: UUID? = nil) {
        self.result = result
        self.warnings = warnings
        self.tracingID = tracingID
    }
}

// Simple calls: one request, one answer.
extension Connection {
    /// Runs a statement. If `options` has a page size, the result is the first page.
    public func query(_ text: String, _ options: QueryOptions = QueryOptions()) throws(ClientError) -> StatementAnswer {
        let stream = takeStream()
        enqueue { encoder, out in encoder.query(text, options, stream: stream, into: &out) }
        try flush()
        return try answer(try response(stream: stream))
    }

    public func prepare(_ text: String, keyspace: String? = nil) throws(ClientError) -> PreparedDescription {
        let stream = takeStream()
        enqueue { encoder, out in encoder.prepare(text, keyspace: keyspace, stream: stream, into: &out) }
        try flush()
        switch try response(stream: stream).response {
        case .prepared(let statement): return statement
        case .error(let error): throw .server(error)
        default: throw .protocolViolation("PREPARE was not answered with a prepared statement")
        }
    }

    public func execute(_ statement: PreparedDescription, _ options: QueryOptions) throws(ClientError)
        -> StatementAnswer
    {
        let stream = takeStream()
        enqueue { encoder, out in encoder.execute(statement, options, stream: stream, into: &out) }
        try flush()
        return try answer(try response(stream: stream, known: statement.result))
    }

    /// Runs a query and visits its pages until the last page, or until `visit` returns false.
    public func pages(
        _ text: String, _ options: QueryOptions, _ visit: (ResultRows) throws(ClientError) -> Bool
    ) throws(ClientError) {
        var options = options
        while true {
            guard case .rows(let rows) = try query(text, options).result else { return }
            guard try visit(rows), let state = rows.pagingState else { return }
            options.pagingState = state
        }
    }

    /// Returns all rows of a query, from all pages, as one result.
    public func rows(_ text: String, _ options: QueryOptions = QueryOptions()) throws(ClientError) -> ResultRows {
        var all: ResultRows?
        var paged = options
        if paged.pageSize == nil { paged.pageSize = 5000 }
        try pages(text, paged) { (page) throws(ClientError) -> Bool in
            if all == nil {
                all = page
            } else {
                all?.rowCount += page.rowCount
                all?.cells += page.cells
            }
            return true
        }
        guard var all else { throw .protocolViolation("the statement has no rows: \(text)") }
        all.pagingState = nil
        return all
    }

    private func answer(_ received: ReceivedResponse) throws(ClientError) -> StatementAnswer {
        let result: StatementResult
        switch received.response {
        case .void: result = .void
        case .rows(let rows, _): result = .rows(rows)
        case .setKeyspace(let name): result = .setKeyspace(name)
        case .schemaChange(let change): result = change.map { .schemaChange($0) } ?? .void
        case .error(let error): throw .server(error)
        default: throw .protocolViolation("a statement was not answered with a result")
        }
        return StatementAnswer(result: result, warnings: received.warnings, tracingID: received.tracingID)
    }
}
