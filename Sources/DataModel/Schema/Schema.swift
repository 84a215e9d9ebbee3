import Primitives

/// All keyspaces and tables at one schema version.
///
/// **Thread safety**: immutable; shared, and replaced as a whole.
public struct Schema: Sendable {
    public let keyspaces: [String: KeyspaceMetadata]
    public let tables: [UUID: TableMetadata]
    /// A digest of all keyspaces except system keyspaces: equal for equal contents, also after a restart.
    public let version: UUID

    /// The system keyspaces: built into the server and not changed by statements.
    public static let systemKeyspaces: Set<String> = [
        "system", "system_schema", "system_auth", "system_distributed", "system_traces", "system_views",
        "system_virtual_schema",
    ]

    public static func isSystem(_ keyspace: String) -> Bool { systemKeyspaces.contains(keyspace.lowercased()) }

    public init(keyspaces: [KeyspaceMetadata] = []) {
        self.init(named: Dictionary(keyspaces.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last }))
    }

    private init(named keyspaces: [String: KeyspaceMetadata]) {
        self.keyspaces = keyspaces
        var tables: [UUID: TableMetadata] = [:]
        for keyspace in keyspaces.values {
            for table in keyspace.tables.values { tables[table.id] = table }
        }
        self.tables = tables
        version = Self.contentVersion(of: keyspaces)
    }

    public func keyspace(_ name: String) -> KeyspaceMetadata? { keyspaces[name] }
    public func table(_ keyspace: String, _ name: String) -> TableMetadata? { keyspaces[keyspace]?.tables[name] }

    /// The keyspaces, sorted by name.
    public var sortedKeyspaces: [KeyspaceMetadata] { keyspaces.values.sorted { $0.name < $1.name } }

    /// The keyspaces that statements create and change, sorted by name.
    public var userKeyspaces: [KeyspaceMetadata] { sortedKeyspaces.filter { !Schema.isSystem($0.name) } }

    /// Returns the schema with this keyspace added, or replaced if one has its name.
    public func setting(_ keyspace: KeyspaceMetadata) -> Schema {
        var changed = keyspaces
        changed[keyspace.name] = keyspace
        return Schema(named: changed)
    }

    public func removing(keyspace name: String) -> Schema {
        var changed = keyspaces
        changed[name] = nil
        return Schema(named: changed)
    }

    /// Returns the schema with this table added, or replaced if one has its name; unchanged when its keyspace does not
    /// exist.
    public func setting(_ table: TableMetadata) -> Schema {
        guard let keyspace = keyspaces[table.keyspace] else { return self }
        var changed = keyspace.tables
        changed[table.name] = table
        return setting(keyspace.with(tables: changed))
    }

    public func removing(table name: String, in keyspaceName: String) -> Schema {
        guard let keyspace = keyspaces[keyspaceName] else { return self }
        var changed = keyspace.tables
        changed[name] = nil
        return setting(keyspace.with(tables: changed))
    }

    private static func contentVersion(of keyspaces: [String: KeyspaceMetadata]) -> UUID {
        let bytes = encodeContents(of: keyspaces)
        let high = Checksum.xxh3(bytes, seed: 0)
        let low = Checksum.xxh3(bytes, seed: 1)
        return UUID(high: high & ~0xf000 | 0x3000, low: low & ~(3 << 62) | (2 << 62))
    }
}
