/// A keyspace as it was at one version of the schema; a change makes a new one.
public final class KeyspaceMetadata: Sendable {
    public let name: String
    /// `class` (full Java name, as `system_schema.keyspaces` shows it) and the options of the strategy.
    public let replication: [String: String]
    public let durableWrites: Bool
    /// Whether other nodes may stand in for replicas that are down, to keep a write for them: then it counts towards its consistency level.
    public let sloppyQuorum: Bool
    public let tables: [String: TableMetadata]
    /// Its tables are computed when read.
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

    /// A keyspace the server brings: names its tables.
    public convenience init(
        name: String, replication: [String: String], holding tables: [TableMetadata], isVirtual: Bool = false
    ) {
        self.init(
            name: name, replication: replication,
            tables: Dictionary(tables.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last }), isVirtual: isVirtual)
    }

    /// The tables by name.
    public var sortedTables: [TableMetadata] { tables.values.sorted { $0.name < $1.name } }

    func with(tables: [String: TableMetadata]) -> KeyspaceMetadata {
        KeyspaceMetadata(
            name: name, replication: replication, durableWrites: durableWrites, sloppyQuorum: sloppyQuorum, tables: tables,
            isVirtual: isVirtual)
    }

    /// The same tables under another replication.
    public func altered(
        replication: [String: String]? = nil, durableWrites: Bool? = nil, sloppyQuorum: Bool? = nil
    ) -> KeyspaceMetadata {
        KeyspaceMetadata(
            name: name, replication: replication ?? self.replication, durableWrites: durableWrites ?? self.durableWrites,
            sloppyQuorum: sloppyQuorum ?? self.sloppyQuorum, tables: tables, isVirtual: isVirtual)
    }
}
