import DataModel
import NativeProtocol
import Primitives

/// An answer to a statement, and what came with it.
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

// One request, one answer.
extension Connection {
    /// Runs a statement; one page when `options` has a page size.
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

    public func execute(_ statement: PreparedDescription, _ options: QueryOptions) throws(ClientError) -> StatementAnswer {
        let stream = takeStream()
        enqueue { encoder, out in encoder.execute(statement, options, stream: stream, into: &out) }
        try flush()
        return try answer(try response(stream: stream, known: statement.result))
    }

    /// Runs a query and visits its pages until there are no more or `visit` returns false.
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

    /// All rows of a query, page after page, as one result.
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
