/// A keyspace at one schema version; immutable.
public final class KeyspaceMetadata: Sendable {
    public let name: String
    /// `class` (the full Java name, as in `system_schema.keyspaces`) and the options of the replication strategy.
    public let replication: [String: String]
    public let durableWrites: Bool
    /// Whether other nodes may store a write for replicas that are down and count towards its consistency level (sloppy
    /// quorum).
    public let sloppyQuorum: Bool
    public let tables: [String: TableMetadata]
    /// Whether the contents of its tables are computed when read.
    public let isVirtual: Bool

    public init(
        name: String, replication: [String: String], durableWrites: Bool = true, sloppyQuorum: Bool = false,
        tables: [String: TableMetadata] = [:], isVirtual: Bool = false
    ) {
        self.name = name
        self.replication = replication
        self.durableWrites = durableWrites
        self.sloppyQuorum = sloppyQuorum
        self.tables = tables
        self.isVirtual = isVirtual
    }

    /// Creates a keyspace from a list of tables, for the keyspaces built into the server.
    public convenience init(
        name: String, replication: [String: String], holding tables: [TableMetadata], isVirtual: Bool = false
    ) {
        self.init(
            name: name, replication: replication,
            tables: Dictionary(tables.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last }),
            isVirtual: isVirtual)
    }

    /// The tables, sorted by name.
    public var sortedTables: [TableMetadata] { tables.values.sorted { $0.name < $1.name } }

    func with(tables: [String: TableMetadata]) -> KeyspaceMetadata {
        KeyspaceMetadata(
            name: name, replication: replication, durableWrites: durableWrites, sloppyQuorum: sloppyQuorum,
            tables: tables,
            isVirtual: isVirtual)
    }

    /// Returns the keyspace with other options and the same tables.
    public func altered(
        replication: [String: String]? = nil, durableWrites: Bool? = nil, sloppyQuorum: Bool? = nil
    ) -> KeyspaceMetadata {
        KeyspaceMetadata(
            name: name, replication: replication ?? self.replication,
            durableWrites: durableWrites ?? self.durableWrites,
            sloppyQuorum: sloppyQuorum ?? self.sloppyQuorum, tables: tables, isVirtual: isVirtual)
    }
}
