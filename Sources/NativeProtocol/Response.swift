import DataModel
import Primitives

/// A server's response, as a client sees it.
public enum Response: Sendable {
    case ready
    case authenticate(String)
    case authChallenge([UInt8]?)
    case authSuccess([UInt8]?)
    case supported([String: [String]])
    case error(ServerError)
    /// Rows. `changedMetadataID` (v5) is the new id of the result metadata, if it changed since the statement was
    /// prepared.
    case rows(ResultRows, changedMetadataID: [UInt8]?)
    case void
    case setKeyspace(String)
    case prepared(PreparedDescription)
    /// Nil for kinds of objects this project does not have (functions, aggregates).
    case schemaChange(SchemaChange?)
    /// Nil for kinds of events this project does not have.
    case event(ServerEvent?)
}

/// A response with its stream id, tracing id and warnings.
public struct ReceivedResponse: Sendable {
    public var stream: Int16
    public var tracingID: UUID?
    public var warnings: [String]
    public var response: Response
}
