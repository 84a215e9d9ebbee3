import DataModel
import Primitives

/// An operation that a replica could not perform.
public enum ReplicaError: Error, Sendable {
    /// The table was dropped, or this node does not know it yet.
    case unknownTable(UUID)
    /// The client's error, decided by the coordinator from the replies of other nodes.
    case server(ServerError)
    /// A limit was reached; the client should slow down.
    case overloaded(String)
    /// A disk or file error; the message names the file, the offset and what was expected.
    case storage(String)
}
