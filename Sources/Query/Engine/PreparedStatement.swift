import CQL
import DataModel
import Primitives
import Synchronization

/// A statement's text, checked and compiled. It is compiled again after every schema change.
///
/// **Thread safety**: any thread.
public final class PreparedStatement: Sendable {
    /// The statement's id in the protocol: 16 bytes computed from keyspace and text.
    public let id: StatementID
    public let text: String
    /// The keyspace for unqualified names.
    public let keyspace: String?
    private let state: Mutex<Compiled>

    init(id: StatementID, text: String, keyspace: String?, compiled: Compiled) {
        self.id = id
        self.text = text
        self.keyspace = keyspace
        state = Mutex(compiled)
    }

    /// The contents of PREPARED: bind markers, partition key markers, result columns.
    public var planned: PlannedStatement { compiled.planned }
    /// Identifies the result columns (v5); a different value means that they changed.
    public var resultMetadataID: [UInt8] { compiled.resultMetadataID }

    var compiled: Compiled {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

/// The id of a prepared statement: 16 bytes.
public struct StatementID: Hashable, Sendable {
    public let high: UInt64
    public let low: UInt64

    /// Hashes keyspace and text twice with XXH3, with different seeds.
    public init(keyspace: String?, text: String) {
        let bytes = Array((keyspace ?? "").utf8) + [0] + Array(text.utf8)
        high = Checksum.xxh3(bytes, seed: 0x5155_4552)
        low = Checksum.xxh3(bytes, seed: 0x4944)
    }

    /// Makes an id from its two halves, most significant first.
    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Makes an id from the bytes a client sent; nil unless there are 16.
    public init?(_ bytes: [UInt8]) {
        guard let id = UUID(bytes: bytes) else { return nil }
        high = id.high
        low = id.low
    }

    public var bytes: [UInt8] { UUID(high: high, low: low).bytes }
}

/// A plan with the data its executions share, for one version of the schema.
final class Compiled: Sendable {
    let planned: PlannedStatement
    /// At most one of the three is there; none for other statements, which are executed from `planned`.
    let modification: CompiledModification?
    let select: CompiledSelect?
    let batch: (plan: BatchPlan, items: [CompiledModification])?
    let markerCount: Int
    /// Of the plan; empty for nearly all.
    let warnings: [String]
    /// The engine's schema generation for which it was compiled.
    let generation: UInt64
    let resultMetadataID: [UInt8]
    /// The tables that the statement reads or writes.
    let tables: [UUID]

    /// The tables that may be truncated while the statement runs: it then continues with the new table id. Empty for a
    /// counter batch of several tables, where running again could count twice in a table that was not truncated.
    var replaceableTables: [UUID] {
        batch.map { Compiled.replaceable($0.plan.kind, tables) } ?? tables
    }

    static func replaceable(_ kind: BatchPlan.Kind, _ tables: [UUID]) -> [UUID] {
        kind == .counter && Set(tables).count > 1 ? [] : tables
    }

    init(planned: PlannedStatement, snapshot: SchemaSnapshot, fingerprint: UInt64, textBytes: Int) throws(ServerError) {
        self.planned = planned
        generation = snapshot.generation
        func compile(_ plan: ModificationPlan) -> CompiledModification {
            CompiledModification(plan: plan, replication: snapshot.replication(of: plan.table.keyspace))
        }
        var select: CompiledSelect?
        var modification: CompiledModification?
        var batch: (plan: BatchPlan, items: [CompiledModification])?
        switch planned.plan {
        case .select(let plan):
            select = try CompiledSelect(
                plan: plan, replication: snapshot.replication(of: plan.table.keyspace), fingerprint: fingerprint,
                isLarge: textBytes > QueryEngine.largeStatementBytes)
            tables = [plan.table.id]
        case .modification(let plan):
            modification = compile(plan)
            tables = [plan.table.id]
        case .batch(let plan):
            batch = (plan, plan.statements.map(compile))
            tables = plan.statements.map(\.table.id)
        default: tables = []
        }
        self.select = select
        self.modification = modification
        self.batch = batch
        markerCount = planned.bindVariables.count
        warnings = planned.warnings
        var description = "\(planned.bindVariables.count)"
        for column in planned.resultMetadata?.columns ?? [] {
            description += "\u{0}\(column.keyspace).\(column.table).\(column.name) \(column.type)"
        }
        resultMetadataID = StatementID(keyspace: nil, text: description).bytes
    }
}
