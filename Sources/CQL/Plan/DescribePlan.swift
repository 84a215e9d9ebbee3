/// A checked DESCRIBE.
public struct DescribePlan: Sendable {
    public enum Subject: Sendable, Equatable {
        case cluster
        /// All keyspaces; `full` with those of the server.
        case schema(full: Bool)
        case keyspaces
        case tables(keyspace: String?)
        case types(keyspace: String?)
        case functions(keyspace: String?)
        case aggregates(keyspace: String?)
        /// `onlyKeyspace`: without its tables.
        case keyspace(String, onlyKeyspace: Bool)
        case table(keyspace: String, name: String)
        /// `DESCRIBE name`: a keyspace, else a table of the keyspace in use.
        case any(keyspace: String?, name: String)
    }

    public let subject: Subject
    public let withInternals: Bool
    /// The keyspace in use when it was asked.
    public let keyspaceInUse: String?

    public init(subject: Subject, withInternals: Bool, keyspaceInUse: String?) {
        self.subject = subject
        self.withInternals = withInternals
        self.keyspaceInUse = keyspaceInUse
    }
}
