import CQL
import Coordinator
import DataModel
import Messages
import Primitives
import Synchronization

/// Executes CQL on this node: plans statements, keeps prepared ones, reads and writes through the replica, changes the schema.
///
/// Every call runs to its end on the calling thread. With `.nonBlocking` a call that would wait for a disk fails with `wouldBlock` and
/// has done nothing; the same call may then be made again with `.blocking` where waiting is allowed.
///
/// **Thread safety**: any number of threads, each with a scratch of its own.
public final class QueryEngine: Sendable {
    let replica: any ReplicaPort
    let virtual: VirtualReplica
    let host: any SchemaHost
    public let clock: HybridClock
    /// What the system tables say of this node.
    public var node: NodeInfo { virtual.node }
    public let limits: QueryLimits
    public let traces: TraceStore
    let cache: StatementCache
    /// `Int64.max` when no request is slow.
    private let slowMicroseconds: Int64
    private let snapshots: Mutex<SchemaSnapshot>
    private let generation = Atomic<UInt64>(1)

    /// - Parameter schema: the user's keyspaces; those of the server are added.
    public init(
        replica: any ReplicaPort, host: any SchemaHost, clock: HybridClock = HybridClock(), node: NodeInfo, schema: Schema,
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
        snapshots = Mutex(SchemaSnapshot(schema: complete, generation: 1, dataCenter: node.dataCenter, dataCenters: node.dataCenters))
        virtual = VirtualReplica(node: node, traces: traces)
        virtual.show(complete)
    }

    /// Takes over what has become known of this node and the others.
    public func update(_ change: (inout NodeInfo) -> Void) { virtual.update(change) }

    /// The schema of this moment, with the server's own keyspaces.
    public var schema: Schema { snapshot.schema }

    var snapshot: SchemaSnapshot { snapshots.withLock { $0 } }

    /// Puts a changed schema in force; one call at a time.
    /// - Parameters:
    ///   - schema: the user's keyspaces; those of the server are added.
    ///   - difference: from the schema in force.
    public func install(_ schema: Schema, _ difference: SchemaDifference) {
        let complete = SystemKeyspaces.added(to: schema)
        let next = snapshots.withLock { current in
            let next = SchemaSnapshot(
                schema: complete, generation: current.generation + 1, dataCenter: node.dataCenter, dataCenters: node.dataCenters)
            current = next
            return next
        }
        virtual.show(complete)
        generation.store(next.generation, ordering: .releasing)
        // Drivers of protocol version 4 keep a statement's result columns until they prepare it again. Those of a table that was emptied are the same.
        let changed = Set((difference.altered + difference.dropped).map(\.id)).subtracting(difference.emptied)
        if !changed.isEmpty { cache.remove { !changed.isDisjoint(with: $0.compiled.tables) } }
    }

    // MARK: Statements

    /// Checks and compiles a statement that is executed once.
    /// - Parameter keyspace: of unqualified names.
    public func statement(_ text: String, keyspace: String?) throws(ServerError) -> PreparedStatement {
        let id = StatementID(keyspace: keyspace, text: text)
        return PreparedStatement(id: id, text: text, keyspace: keyspace, compiled: try compile(text, keyspace, id))
    }

    /// Checks and compiles a statement and keeps it for `prepared`.
    public func prepare(_ text: String, keyspace: String?) throws(ServerError) -> PreparedStatement {
        let id = StatementID(keyspace: keyspace, text: text)
        if let known = cache.find(id) {
            _ = try current(known)
            return known
        }
        return cache.insert(PreparedStatement(id: id, text: text, keyspace: keyspace, compiled: try compile(text, keyspace, id)))
    }

    /// The prepared statement of that id; nil when it was never prepared, or forgotten since: answer with `unprepared`.
    public func prepared(_ id: StatementID) -> PreparedStatement? { cache.find(id) }

    /// Prepared statements kept and forgotten so far.
    public var preparedCounts: (kept: Int, forgotten: Int) { cache.counts }

    private func compile(_ text: String, _ keyspace: String?, _ id: StatementID) throws(ServerError) -> Compiled {
        let snapshot = snapshot
        let planned = try Planner.plan(text, schema: snapshot.schema, keyspace: keyspace)
        return try Compiled(planned: planned, snapshot: snapshot, fingerprint: id.low)
    }

    /// The statement's plan for the schema of this moment.
    @inline(__always) func current(_ statement: PreparedStatement) throws(ServerError) -> Compiled {
        let compiled = statement.compiled
        if compiled.generation == generation.load(ordering: .acquiring) { return compiled }
        let fresh = try compile(statement.text, statement.keyspace, statement.id)
        statement.compiled = fresh
        return fresh
    }

    /// The port that holds a table's rows.
    @inline(__always) func port(of table: TableMetadata, _ options: QueryOptions) -> any ReplicaPort {
        table.isVirtual ? virtual : port(options)
    }

    /// The port that a request writes through.
    @inline(__always) func port(_ options: QueryOptions) -> any ReplicaPort { options.port ?? replica }

    // MARK: Execution

    /// Executes a statement.
    public func execute(
        _ statement: PreparedStatement, values: ValueList = ValueList(), options: QueryOptions, io: IOMode, scratch: ExecutionScratch
    ) throws(QueryFailure) -> Answer {
        let compiled: Compiled
        do throws(ServerError) { compiled = try current(statement) } catch { throw .server(error) }
        if !options.isTracing {
            do throws(QueryFailure) { return try run(compiled, statement, values, options, io, &scratch.space) } catch {
                throw overtaken(error, compiled.emptiable, options)
            }
        }
        let trace = traces.begin(
            statement.text, options: options, node: node, command: "QUERY", startedMicroseconds: clock.nowMicroseconds)
        trace.note("Parsing \(statement.text)")
        trace.note("Preparing statement")
        do throws(QueryFailure) {
            var answer = try run(compiled, statement, values, options, io, &scratch.space)
            trace.note(QueryEngine.describe(answer.result))
            answer.tracingID = trace.id
            traces.finish(trace)
            return answer
        } catch {
            let failure = overtaken(error, compiled.emptiable, options)
            // Run again, it is traced then.
            if !failure.isForAgain { traces.finish(trace) }
            throw failure.withResult
        }
    }

    /// Why a request failed, as its client is told; or that it is to be executed again, by the schema of now: a table of it has been emptied or dropped
    /// meanwhile, and with it whatever the request had done there.
    /// - Parameter tables: those it reads or writes; none when it may not be executed again.
    @inline(__always) func overtaken(_ failure: QueryFailure, _ tables: @autoclosure () -> [UUID], _ options: QueryOptions) -> QueryFailure
    {
        // Most of what is thrown here only waits.
        guard case .server(let error) = failure else { return failure }
        return mayStartOver(after: error, tables(), options) ? .restart : failure
    }

    @inline(never) private func mayStartOver(after error: ServerError, _ tables: [UUID], _ options: QueryOptions) -> Bool {
        let known = schema.tables
        guard !tables.isEmpty, error.tableIsGone || tables.contains(where: { known[$0] == nil }) else { return false }
        return options.port?.startOver() ?? true
    }

    private static func describe(_ result: StatementResult) -> String {
        switch result {
        case .void: "Write applied to commit log and memtable"
        case .rows(let rows): "Read \(rows.rowCount) rows"
        case .setKeyspace(let name): "Keyspace set to \(name)"
        case .schemaChange: "Schema changed"
        }
    }

    /// Reports a request that began at `started`, when it was slow.
    func noteDuration(_ text: @autoclosure () -> String, since started: Int64) {
        let elapsed = clock.nowMicroseconds - started
        if elapsed > slowMicroseconds { host.slow(String(text().prefix(1024)), milliseconds: Int(elapsed / 1000)) }
    }

    private func run(
        _ compiled: Compiled, _ statement: PreparedStatement, _ values: ValueList, _ options: QueryOptions, _ io: IOMode,
        _ space: inout Workspace
    ) throws(QueryFailure) -> Answer {
        let values = try bind(values, compiled.planned)
        let wall = clock.nowMicroseconds
        space.context.nowMicroseconds = wall
        defer { noteDuration(statement.text, since: wall) }
        let now = options.nowInSeconds.map { UInt32(clamping: $0) } ?? UInt32(clamping: wall / 1_000_000)
        switch compiled.plan {
        case .select(let select):
            var warnings = compiled.planned.warnings
            if !select.plan.table.isVirtual { try check(options, select.replication, .read) }
            let executor = SelectExecutor(select: select, port: port(of: select.plan.table, options), io: io, limits: limits)
            let rows = try executor.run(
                values, options, nowSeconds: now, text: statement.text, space: &space, warnings: &warnings)
            return Answer(result: .rows(rows), warnings: warnings)
        case .modification(let modification):
            let result: StatementResult
            do throws(QueryFailure) { result = try write(modification, values, options, now, io, &space) } catch {
                throw compiled.planned.warnings.isEmpty ? error : error.withResult
            }
            return Answer(result: result, warnings: compiled.planned.warnings + (options.port?.warnings ?? []))
        case .batch(let batch, let compiledItems):
            var timestamp: Int64?
            if let term = batch.timestamp { timestamp = try WriteTerms.timestamp(term, values, &space.context) }
            var answer: Answer
            do throws(QueryFailure) {
                answer = try writeBatch(
                    batch.kind, compiledItems.map { ($0, values) }, timestamp: timestamp, options, now, io, &space)
            } catch { throw compiled.planned.warnings.isEmpty ? error : error.withResult }
            answer.warnings += compiled.planned.warnings
            return answer
        case .other(let plan):
            let answer = try other(plan, options, io, &space)
            return Answer(result: answer.result, warnings: compiled.planned.warnings + answer.warnings)
        }
    }

    /// The values in the order of the markers.
    @inline(__always) private func bind(_ values: ValueList, _ planned: PlannedStatement) throws(QueryFailure) -> ValueList {
        if !values.names.isEmpty { return try reorder(values, planned.bindVariables) }
        guard values.count == planned.bindVariables.count else {
            throw .invalid("There were \(planned.bindVariables.count) markers(?) in CQL but \(values.count) bound variables")
        }
        return values
    }

    private func reorder(_ values: ValueList, _ markers: [ColumnSpec]) throws(QueryFailure) -> ValueList {
        var ordered = ValueList()
        for marker in markers {
            guard let index = values.names.firstIndex(of: marker.name) else {
                throw .invalid("Invalid amount of bind variables: no value is named '\(marker.name)'")
            }
            switch values.entries[index] {
            case .null: ordered.appendNull()
            case .unset: ordered.appendUnset()
            case .value(let range): values.bytes.withUnsafeBytes { ordered.append(UnsafeRawBufferPointer(rebasing: $0[range])) }
            }
        }
        return ordered
    }

    @inline(__always) func check(
        _ options: QueryOptions, _ replication: Replication, _ request: ConsistencyCheck.Request
    ) throws(QueryFailure) {
        do throws(ServerError) {
            try ConsistencyCheck.check(options.consistency, replication, alive: alive(options), for: request)
        } catch { throw .server(error) }
    }

    /// Live replicas as far as the engine knows: itself, or as many as the coordinator will find.
    @inline(__always) func alive(_ options: QueryOptions) -> Int {
        options.port?.isCoordinated ?? false ? .max : 1
    }
}
