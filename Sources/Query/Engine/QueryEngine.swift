import CQL
import Coordinator
import DataModel
import Platform
import Primitives
import Synchronization

/// Executes CQL on this node: plans statements, caches prepared ones, reads and writes through a port, changes the
/// schema.
///
/// A request runs once, as straight code on a fiber, and waits there for disks, other nodes and locks
/// (`Platform.Fiber`).
///
/// **Thread safety**: any number of fibers and threads, each with its own context.
public final class QueryEngine: Sendable {
    let replica: any ReplicaPort
    let virtual: VirtualReplica
    let host: any SchemaHost
    public let clock: HybridClock
    /// This node as the system tables show it.
    public var node: NodeInfo { virtual.node }
    public let limits: QueryLimits
    public let traces: TraceStore
    let cache: StatementCache
    /// `Int64.max` when slow requests are not reported.
    private let slowMicroseconds: Int64
    private let snapshots: Mutex<SchemaSnapshot>
    private let generation = Atomic<UInt64>(1)

    /// - Parameter schema: the user's keyspaces; the system keyspaces are added.
    public init(
        replica: any ReplicaPort, host: any SchemaHost, clock: HybridClock = HybridClock(), node: NodeInfo,
        schema: Schema,
        limits: QueryLimits = QueryLimits()
    ) {
        self.replica = replica
        self.host = host
        self.clock = clock
        self.limits = limits
        let (seconds, attoseconds) = limits.slowQuery.components
        slowMicroseconds = limits.slowQuery > .zero ? seconds * 1_000_000 + attoseconds / 1_000_000_000_000 : .max
        traces = TraceStore()
        cache = StatementCache(budget: limits.preparedStatementsCacheSize)
        let complete = SystemKeyspaces.added(to: schema)
        snapshots = Mutex(
            SchemaSnapshot(schema: complete, generation: 1, dataCenter: node.dataCenter, dataCenters: node.dataCenters))
        virtual = VirtualReplica(node: node, traces: traces)
        virtual.show(complete)
    }

    /// Updates what the system tables show of this node and the others.
    public func update(_ change: (inout NodeInfo) -> Void) { virtual.update(change) }

    /// The schema in force, with the system keyspaces.
    public var schema: Schema { snapshot.schema }

    var snapshot: SchemaSnapshot { snapshots.withLock { $0 } }

    /// Puts a new schema in force. One call at a time.
    /// - Parameters:
    ///   - schema: the user's keyspaces; the system keyspaces are added.
    ///   - difference: from the schema in force to the new one.
    public func install(_ schema: Schema, _ difference: SchemaDifference) {
        let complete = SystemKeyspaces.added(to: schema)
        let next = snapshots.withLock { current in
            let next = SchemaSnapshot(
                schema: complete, generation: current.generation + 1, dataCenter: node.dataCenter,
                dataCenters: node.dataCenters)
            current = next
            return next
        }
        virtual.show(complete)
        generation.store(next.generation, ordering: .releasing)
        // Drivers of protocol version 4 keep a statement's result columns until they prepare it again, so forget the
        // statements of changed tables. A truncated table keeps its columns.
        let changed = Set((difference.altered + difference.dropped).map(\.id)).subtracting(difference.emptied)
        if !changed.isEmpty { cache.remove { !changed.isDisjoint(with: $0.compiled.tables) } }
    }

    // MARK: Statements

    /// Checks and compiles a statement that is executed once.
    /// - Parameter keyspace: for unqualified names.
    public func statement(_ text: String, keyspace: String?) throws(ServerError) -> PreparedStatement {
        let id = StatementID(keyspace: keyspace, text: text)
        return PreparedStatement(id: id, text: text, keyspace: keyspace, compiled: try compile(text, keyspace, id))
    }

    /// Checks and compiles a statement and caches it for `prepared`.
    public func prepare(_ text: String, keyspace: String?) throws(ServerError) -> PreparedStatement {
        let id = StatementID(keyspace: keyspace, text: text)
        if let known = cache.find(id) {
            _ = try current(known)
            return known
        }
        return cache.insert(
            PreparedStatement(id: id, text: text, keyspace: keyspace, compiled: try compile(text, keyspace, id)))
    }

    /// The prepared statement with that id; nil when it was never prepared or has been evicted: answer with
    /// `unprepared`.
    public func prepared(_ id: StatementID) -> PreparedStatement? { cache.find(id) }

    /// As above, for a request that executes the statement: returns the copy of its loop.
    /// - Parameter context: of the request's fiber.
    @inline(__always) public func prepared(_ id: StatementID, _ context: RequestContext) -> PreparedStatement? {
        // The clock reading of the fiber's previous request is recent enough here.
        context.statements.find(id, in: self, now: context.startedMicroseconds)
    }

    /// Compiles a prepared statement once more; nil when that is not worth it or the statement is no longer valid.
    func copy(of statement: PreparedStatement) -> PreparedStatement? {
        let (id, text, keyspace) = (statement.id, statement.text, statement.keyspace)
        guard text.utf8.count <= QueryEngine.largeStatementBytes, !QueryEngine.isDeep(text) else { return nil }
        do throws(ServerError) {
            return PreparedStatement(
                id: id, text: text, keyspace: keyspace, compiled: try compileHere(text, keyspace, id))
        } catch { return nil }  // executing the engine's own statement reports the error
    }

    /// The number of prepared statements cached, and of those evicted since the start.
    public var preparedCounts: (kept: Int, forgotten: Int) { cache.counts }

    private func compile(_ text: String, _ keyspace: String?, _ id: StatementID) throws(ServerError) -> Compiled {
        guard text.utf8.count > QueryEngine.largeStatementBytes || QueryEngine.isDeep(text) else {
            return try compileHere(text, keyspace, id)
        }
        // A loop must not stand still while thousands of terms are parsed.
        return try Fiber.blocking(.read) { () throws(ServerError) in try compileHere(text, keyspace, id) }
    }

    /// Whether brackets nest so deep that the text is parsed on a thread's stack rather than on a fiber's. Brackets in
    /// string literals count too: that does no harm.
    private static func isDeep(_ text: String) -> Bool {
        var depth = 0
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"):
                depth += 1
                if depth > 10 { return true }
            case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
            default: break
            }
        }
        return false
    }

    private func compileHere(_ text: String, _ keyspace: String?, _ id: StatementID) throws(ServerError) -> Compiled {
        let snapshot = snapshot
        let planned = try Planner.plan(text, schema: snapshot.schema, keyspace: keyspace)
        return try Compiled(planned: planned, snapshot: snapshot, fingerprint: id.low, textBytes: text.utf8.count)
    }

    /// Statement texts and values of this size or more are processed by a background thread: it takes longer than a
    /// request may keep its loop.
    static let largeStatementBytes = 16 << 10

    /// The statement's plan for the schema of this moment.
    @inline(__always) func current(_ statement: PreparedStatement) throws(ServerError) -> Compiled {
        let compiled = statement.compiled
        if compiled.generation == generation.load(ordering: .acquiring) { return compiled }
        let fresh = try compile(statement.text, statement.keyspace, statement.id)
        statement.compiled = fresh
        return fresh
    }

    /// The port to a table's rows.
    @inline(__always) func port(of table: TableMetadata, _ options: QueryOptions) -> any ReplicaPort {
        table.isVirtual ? virtual : port(options)
    }

    /// The port that a request writes through.
    @inline(__always) func port(_ options: QueryOptions) -> any ReplicaPort { options.port ?? replica }

    // MARK: Execution

    /// Executes a statement, once. Waits on the calling fiber, or blocks the thread when there is none.
    /// - Parameter context: of the fiber or thread.
    public func execute(
        _ statement: PreparedStatement, values: ValueList = ValueList(), options: QueryOptions, context: RequestContext
    ) throws(ServerError) -> Answer {
        context.begin(startedMicroseconds: clock.nowMicroseconds, nowInSeconds: options.nowInSeconds)
        defer { noteDuration(statement.text, since: context.startedMicroseconds) }
        if !options.isTracing { return try executeWithCurrentSchema(statement, values, options, context) }
        let trace = traces.begin(
            statement.text, options: options, node: node, command: "QUERY",
            startedMicroseconds: context.startedMicroseconds)
        context.trace = trace
        defer { traces.finish(trace) }
        trace.note("Parsing \(statement.text)")
        trace.note("Preparing statement")
        var answer = try executeWithCurrentSchema(statement, values, options, context)
        trace.note(QueryEngine.describe(answer.result))
        answer.tracingID = trace.id
        return answer
    }

    @inline(__always) private func executeWithCurrentSchema(
        _ statement: PreparedStatement, _ values: ValueList, _ options: QueryOptions, _ context: RequestContext
    ) throws(ServerError) -> Answer {
        while true {
            let compiled = try current(statement)
            do throws(ServerError) { return try run(compiled, statement, values, options, context) } catch {
                try rethrowUnlessTruncated(compiled.replaceableTables, error, options, context)
            }
        }
    }

    /// Rethrows `error`, unless TRUNCATE has given a table of the request a new id meanwhile. In that case nothing the
    /// request wrote survives, and the caller executes it again on the new table.
    /// - Parameter tables: the tables that the request reads or writes; empty when a partial write could survive in
    ///   another table.
    @inline(never) func rethrowUnlessTruncated(
        _ tables: [UUID], _ error: ServerError, _ options: QueryOptions, _ context: RequestContext
    ) throws(ServerError) {
        let known = schema.tables
        guard tables.contains(where: { known[$0] == nil }),
            clock.nowMicroseconds - context.startedMicroseconds < QueryEngine.longestReplacement
        else { throw error }
        options.port?.refresh()
    }

    /// How long a request may be repeated on newer schemas, in microseconds: the default write timeout.
    private static let longestReplacement: Int64 = 2_000_000

    private static func describe(_ result: StatementResult) -> String {
        switch result {
        case .void: "Write applied to commit log and memtable"
        case .rows(let rows): "Read \(rows.rowCount) rows"
        case .setKeyspace(let name): "Keyspace set to \(name)"
        case .schemaChange: "Schema changed"
        }
    }

    /// Reports a request that began at `started`, if it was slow.
    func noteDuration(_ text: @autoclosure () -> String, since started: Int64) {
        let elapsed = clock.nowMicroseconds - started
        if elapsed > slowMicroseconds { host.slow(String(text().prefix(1024)), milliseconds: Int(elapsed / 1000)) }
    }

    private func run(
        _ compiled: Compiled, _ statement: PreparedStatement, _ values: ValueList, _ options: QueryOptions,
        _ context: RequestContext
    ) throws(ServerError) -> Answer {
        if !values.names.isEmpty {
            return try run(
                compiled, statement, bound: reorder(values, compiled.planned.bindVariables), options, context)
        }
        guard values.count == compiled.markerCount else {
            throw .invalid(
                "There were \(compiled.markerCount) markers(?) in CQL but \(values.count) bound variables")
        }
        return try run(compiled, statement, bound: values, options, context)
    }

    /// - Parameter values: in the order of the markers.
    @inline(__always) private func run(
        _ compiled: Compiled, _ statement: PreparedStatement, bound values: ValueList, _ options: QueryOptions,
        _ context: RequestContext
    ) throws(ServerError) -> Answer {
        if let modification = compiled.modification {
            let result = try write(modification, values, options, context)
            return Answer(result: result, warnings: warnings(compiled, options))
        }
        if let select = compiled.select {
            var warnings = compiled.warnings
            if !select.plan.table.isVirtual { try check(options, select.replication, .read) }
            let executor = SelectExecutor(select: select, port: port(of: select.plan.table, options), limits: limits)
            let rows = try executor.run(values, options, context, text: statement.text, warnings: &warnings)
            return Answer(result: .rows(rows), warnings: warnings)
        }
        if let batch = compiled.batch { return try run(batch.plan, batch.items, compiled, values, options, context) }
        let answer = try other(compiled.planned.plan, context)
        return Answer(result: answer.result, warnings: compiled.warnings + answer.warnings)
    }

    @inline(__always) private func warnings(_ compiled: Compiled, _ options: QueryOptions) -> [String] {
        guard let own = options.port?.warnings, !own.isEmpty else { return compiled.warnings }
        return compiled.warnings + own
    }

    private func run(
        _ batch: BatchPlan, _ items: [CompiledModification], _ compiled: Compiled, _ values: ValueList,
        _ options: QueryOptions, _ context: RequestContext
    ) throws(ServerError) -> Answer {
        var timestamp: Int64?
        if let term = batch.timestamp {
            timestamp = try WriteTerms.timestamp(term, values, &context.workspace.context)
        }
        var answer = try writeBatch(batch.kind, items.map { ($0, values) }, timestamp: timestamp, options, context)
        answer.warnings += compiled.warnings
        return answer
    }

    /// Returns the values in the order of the markers.
    private func reorder(_ values: ValueList, _ markers: [ColumnSpec]) throws(ServerError) -> ValueList {
        var ordered = ValueList()
        for marker in markers {
            guard let index = values.names.firstIndex(of: marker.name) else {
                throw .invalid("Invalid amount of bind variables: no value is named '\(marker.name)'")
            }
            switch values.entries[index] {
            case .null: ordered.appendNull()
            case .unset: ordered.appendUnset()
            case .value(let range):
                values.bytes.withUnsafeBytes { ordered.append(UnsafeRawBufferPointer(rebasing: $0[range])) }
            }
        }
        return ordered
    }

    @inline(__always) func check(
        _ options: QueryOptions, _ replication: Replication, _ request: ConsistencyCheck.Request
    ) throws(ServerError) {
        try ConsistencyCheck.check(options.consistency, replication, alive: alive(options), for: request)
    }

    /// The number of live replicas as far as the engine knows: one without a coordinator; with one, the coordinator
    /// checks.
    @inline(__always) func alive(_ options: QueryOptions) -> Int {
        options.port?.isCoordinated ?? false ? .max : 1
    }
}
