import Primitives

/// The difference between two schemas.
public struct SchemaDifference: Sendable {
    public var created: [TableMetadata] = []
    /// The new definitions of tables whose id stayed the same.
    public var altered: [TableMetadata] = []
    /// The old definitions of tables that are gone.
    public var dropped: [TableMetadata] = []
    /// Ids in `dropped` of truncated tables: a table with the same definition and a new id replaces each. Clients get
    /// no event for them.
    public var emptied: Set<UUID> = []
    /// The schema change events for clients, in an order in which each makes sense.
    public var changes: [SchemaChange] = []

    public var isEmpty: Bool { changes.isEmpty && created.isEmpty && dropped.isEmpty }

    public init(from before: Schema, to after: Schema) {
        for keyspace in before.sortedKeyspaces where after.keyspace(keyspace.name) == nil {
            dropped += keyspace.sortedTables
            changes.append(SchemaChange(kind: .dropped, target: .keyspace, keyspace: keyspace.name, name: ""))
        }
        for keyspace in after.sortedKeyspaces {
            guard let old = before.keyspace(keyspace.name) else {
                changes.append(SchemaChange(kind: .created, target: .keyspace, keyspace: keyspace.name, name: ""))
                compareTables(of: keyspace, with: [:])
                continue
            }
            if old === keyspace { continue }
            if old.replication != keyspace.replication || old.durableWrites != keyspace.durableWrites
                || old.sloppyQuorum != keyspace.sloppyQuorum
            {
                changes.append(SchemaChange(kind: .updated, target: .keyspace, keyspace: keyspace.name, name: ""))
            }
            compareTables(of: keyspace, with: old.tables)
        }
    }

    private mutating func note(_ kind: SchemaChange.Kind, _ table: TableMetadata) {
        changes.append(SchemaChange(kind: kind, target: .table, keyspace: table.keyspace, name: table.name))
    }

    private mutating func compareTables(of keyspace: KeyspaceMetadata, with old: [String: TableMetadata]) {
        for table in old.values.sorted(by: { $0.name < $1.name }) where keyspace.tables[table.name]?.id != table.id {
            dropped.append(table)
            if let next = keyspace.tables[table.name], Schema.haveSameDefinition(table.emptied(next.id), next) {
                emptied.insert(table.id)
            } else {
                note(.dropped, table)
            }
        }
        for table in keyspace.sortedTables {
            guard let known = old[table.name], known.id == table.id else {
                created.append(table)
                if old[table.name].map({ emptied.contains($0.id) }) != true { note(.created, table) }
                continue
            }
            if !Schema.haveSameDefinition(known, table) {
                altered.append(table)
                note(.updated, table)
            }
        }
    }
}
