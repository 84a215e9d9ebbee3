import DataModel
import Primitives

/// What a server answers, as a client sees it.
public enum Response: Sendable {
    case ready
    case authenticate(String)
    case authChallenge([UInt8]?)
    case authSuccess([UInt8]?)
    case supported([String: [String]])
    case error(ServerError)
    /// Rows, and with v5 the new id of their metadata when it changed since the statement was prepared.
    case rows(ResultRows, changedMetadataID: [UInt8]?)
    case void
    case setKeyspace(String)
    case prepared(PreparedDescription)
    /// Nil when what changed is of a kind this project has not (functions, aggregates).
    case schemaChange(SchemaChange?)
    /// Nil when the event is of a kind this project has not.
    case event(ServerEvent?)
}

/// A response and what came with it.
public struct ReceivedResponse: Sendable {
    public var stream: Int16
    public var tracingID: UUID?
    public var warnings: [String]
    public var response: Response
}
