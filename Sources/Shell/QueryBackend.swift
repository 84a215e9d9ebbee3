import Client
import DataModel
import NativeProtocol
import Primitives

/// The server a shell is connected to, for `SHOW VERSION` and `SHOW HOST`.
public struct BackendIdentity: Sendable, Equatable {
    public var clusterName: String
    /// `host:port`, or the directory of an embedded node.
    public var address: String
    public var releaseVersion: String
    public var cqlVersion: String
    public var protocolVersion: String

    public init(
        clusterName: String, address: String, releaseVersion: String, cqlVersion: String, protocolVersion: String
    ) {
        self.clusterName = clusterName
        self.address = address
        self.releaseVersion = releaseVersion
        self.cqlVersion = cqlVersion
        self.protocolVersion = protocolVersion
    }
}

/// Runs a shell's statements: a server over the network, or a node in this process.
///
/// **Thread safety**: one owner; the shell calls from one thread.
public protocol QueryBackend: AnyObject {
    var identity: BackendIdentity { get }

    /// Runs one statement without its `;`. `USE` affects the following statements.
    /// - Parameters:
    ///   - options: consistency levels, values, page size and paging state.
    ///   - tracing: whether to trace; the answer's `tracingID` then identifies the trace in `system_traces`.
    func run(_ statement: String, _ options: QueryOptions, tracing: Bool) throws(ClientError) -> StatementAnswer

    /// Runs a statement once for each list of values; returns the error of each in order, or nil where it succeeded.
    func runMany(_ statement: String, _ rows: [ValueList], _ options: QueryOptions) throws(ClientError)
        -> [ServerError?]

    /// Reconnects as another user.
    func logIn(user: String, password: String) throws(ClientError)

    /// Closes the connection.
    func close()
}

extension QueryBackend {
    public func runMany(_ statement: String, _ rows: [ValueList], _ options: QueryOptions) throws(ClientError)
        -> [ServerError?]
    {
        var outcomes: [ServerError?] = []
        for row in rows {
            var options = options
            options.values = row
            do throws(ClientError) {
                _ = try run(statement, options, tracing: false)
                outcomes.append(nil)
            } catch {
                guard case .server(let refusal) = error else { throw error }
                outcomes.append(refusal)
            }
        }
        return outcomes
    }

    /// Returns all rows of a query, from all pages.
    func rows(_ statement: String, _ options: QueryOptions = QueryOptions()) throws(ClientError) -> [ResultRow] {
        var options = options
        if options.pageSize == nil { options.pageSize = 5000 }
        var all: [ResultRow] = []
        while true {
            guard case .rows(let rows) = try run(statement, options, tracing: false).result else { return all }
            all += rows.rows()
            guard let state = rows.pagingState else { return all }
            options.pagingState = state
        }
    }
}
