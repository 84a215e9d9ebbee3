/// A validated DESCRIBE statement.
public struct DescribePlan: Sendable {
    public enum Subject: Sendable, Equatable {
        case cluster
        /// All keyspaces; with `full`, including system keyspaces.
        case schema(full: Bool)
        case keyspaces
        case tables(keyspace: String?)
        case types(keyspace: String?)
        case functions(keyspace: String?)
        case aggregates(keyspace: String?)
        /// With `onlyKeyspace`, without the keyspace's tables.
        case keyspace(String, onlyKeyspace: Bool)
        case table(keyspace: String, name: String)
        /// `DESCRIBE name`: a keyspace, or else a table of the current keyspace.
        case any(keyspace: String?, name: String)
    }

    public let subject: Subject
    public let withInternals: Bool
    /// The current keyspace when the statement was planned.
    public let keyspaceInUse: String?

    public init(subject: Subject, withInternals: Bool, keyspaceInUse: String?) {
        self.subject = subject
        self.withInternals = withInternals
        self.keyspaceInUse = keyspaceInUse
    }
}
