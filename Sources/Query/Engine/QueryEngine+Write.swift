import CQL
import Coordinator
import DataModel
import Messages
import Primitives

extension QueryEngine {
    /// One INSERT, UPDATE or DELETE.
    @inline(__always) func write(
        _ compiled: CompiledModification, _ values: ValueList, _ options: QueryOptions, _ now: UInt32, _ io: IOMode,
        _ space: inout Workspace
    ) throws(QueryFailure) -> StatementResult {
        try checkWritable(compiled.plan.table)
        if compiled.plan.isConditional {
            return try conditional([(compiled, values)], isBatch: false, options, now, io, &space)
        }
        let request: ConsistencyCheck.Request =
            compiled.plan.isCounter ? .counterWrite(table: compiled.plan.table.name) : .write
        try check(options, compiled.replication, request)
        let encoder = ModificationEncoder(compiled: compiled, port: port(options), io: io, limits: limits)
        let times = try encoder.times(values, timestamp: options.timestamp ?? clock.next(), now: now, &space.context)
        space.beginMutations()
        try encoder.encode(values, times, space: &space)
        let isCount = compiled.plan.isCounter && compiled.plan.kind != .delete
        try apply(space.mutations, isCounter: isCount, type: .simple, isLast: true, options, io)
        return .void
    }

    @inline(__always) private func apply(
        _ mutations: borrowing MutationWriter, isCounter: Bool, type: WriteType, isLast: Bool, _ options: QueryOptions, _ io: IOMode
    ) throws(QueryFailure) {
        guard mutations.count > 0 else { return }
        // Counting is not done twice: what may stop in the middle is only begun where it need not.
        if isCounter && io == .nonBlocking && MutationReader.hasSeveralOperations(mutations.out.bytes) { throw .wouldBlock }
        do throws(ReplicaError) {
            let port = port(options)
            if isCounter { try port.applyCounters(mutations, io: io) } else { try port.apply(mutations, type: type, io: io) }
        } catch {
            if isLast, case .pending = error { throw .pendingWrite }
            throw QueryFailure(error)
        }
    }

    @inline(__always) private func checkWritable(_ table: TableMetadata) throws(QueryFailure) {
        guard table.isVirtual else { return }
        throw .server(ServerError(.unauthorized, "\(table.keyspace) keyspace is not user-modifiable."))
    }

    private func conditional(
        _ items: [(compiled: CompiledModification, values: ValueList)], isBatch: Bool, _ options: QueryOptions, _ now: UInt32,
        _ io: IOMode, _ space: inout Workspace
    ) throws(QueryFailure) -> StatementResult {
        guard let first = items.first else { return .void }
        do throws(ServerError) {
            try ConsistencyCheck.checkSerial(options.serialConsistency, first.compiled.replication, alive: alive(options))
        } catch { throw .server(error) }
        try check(options, first.compiled.replication, .conditionalCommit)
        let executor = ConditionalExecutor(items: items, isBatch: isBatch, port: port(options), io: io, limits: limits)
        return try executor.run(now: now, nextTimestamp: { clock.next() }, space: &space)
    }

    // MARK: Batches

    /// Executes a batch as the protocol's BATCH message brings it.
    public func executeBatch(
        _ kind: BatchPlan.Kind, _ statements: [(statement: PreparedStatement, values: ValueList)], options: QueryOptions, io: IOMode,
        scratch: ExecutionScratch
    ) throws(QueryFailure) -> Answer {
        var items: [(compiled: CompiledModification, values: ValueList)] = []
        for (statement, values) in statements {
            let compiled: Compiled
            do throws(ServerError) { compiled = try current(statement) } catch { throw .server(error) }
            guard case .modification(let modification) = compiled.plan else {
                throw .invalid("Invalid statement in batch: only UPDATE, INSERT and DELETE statements are allowed.")
            }
            guard values.names.isEmpty, values.count == compiled.planned.bindVariables.count else {
                throw .invalid(
                    "There were \(compiled.planned.bindVariables.count) markers(?) in CQL but \(values.count) bound variables")
            }
            items.append((modification, values))
        }
        let wall = clock.nowMicroseconds
        scratch.space.context.nowMicroseconds = wall
        defer { noteDuration("a batch of \(items.count) statements, the first: \(statements.first?.statement.text ?? "")", since: wall) }
        let now = options.nowInSeconds.map { UInt32(clamping: $0) } ?? UInt32(clamping: wall / 1_000_000)
        guard options.isTracing else {
            do throws(QueryFailure) { return try writeBatch(kind, items, timestamp: nil, options, now, io, &scratch.space) } catch {
                throw overtaken(error, Compiled.emptiable(kind, items.map(\.compiled.plan.table.id)), options)
            }
        }
        let trace = traces.begin(
            "Execute batch of \(items.count) statements", options: options, node: node, command: "BATCH", startedMicroseconds: wall)
        do throws(QueryFailure) {
            var answer = try writeBatch(kind, items, timestamp: nil, options, now, io, &scratch.space)
            answer.tracingID = trace.id
            traces.finish(trace)
            return answer
        } catch {
            let failure = overtaken(error, Compiled.emptiable(kind, items.map(\.compiled.plan.table.id)), options)
            if !failure.isForAgain { traces.finish(trace) }
            throw failure.withResult
        }
    }

    func writeBatch(
        _ kind: BatchPlan.Kind, _ items: [(compiled: CompiledModification, values: ValueList)], timestamp: Int64?, _ options: QueryOptions,
        _ now: UInt32, _ io: IOMode, _ space: inout Workspace
    ) throws(QueryFailure) -> Answer {
        guard !items.isEmpty else { return Answer(result: .void) }
        for item in items { try checkWritable(item.compiled.plan.table) }
        try checkKinds(kind, items)
        if items.contains(where: { $0.compiled.plan.isConditional }) {
            return Answer(result: try conditional(items, isBatch: true, options, now, io, &space))
        }
        let writeTime = timestamp ?? options.timestamp ?? clock.next()
        if kind == .counter && BatchShape.countsAndDeletes(items) {
            return try writeCounterBatch(items, timestamp: writeTime, options, now, io, &space)
        }
        return try writeTogether(kind, items, timestamp: writeTime, options, now, io, &space)
    }

    /// The statements of a batch as one mutation.
    @inline(never) private func writeTogether(
        _ kind: BatchPlan.Kind, _ items: [(compiled: CompiledModification, values: ValueList)], timestamp: Int64, _ options: QueryOptions,
        _ now: UInt32, _ io: IOMode, _ space: inout Workspace
    ) throws(QueryFailure) -> Answer {
        space.beginMutations()
        // By index and without closures: over the elements in place the optimizer of Swift 6.3.1 fails.
        var index = 0
        while index < items.count {
            try encode(items[index], kind, timestamp: timestamp, options, now, io, &space)
            index += 1
        }
        let warnings = try verifySize(kind, items, space.mutations)
        // Either all of them delete or none does.
        try applyTogether(kind, deletes: BatchShape.deletesFirst(items), isLast: warnings.isEmpty, options, io, space.mutations)
        return Answer(result: .void, warnings: warnings + (options.port?.warnings ?? []))
    }

    @inline(never) private func applyTogether(
        _ kind: BatchPlan.Kind, deletes: Bool, isLast: Bool, _ options: QueryOptions, _ io: IOMode, _ mutations: borrowing MutationWriter
    ) throws(QueryFailure) {
        let type: WriteType
        switch kind {
        case .logged: type = .batch
        case .unlogged: type = .unloggedBatch
        case .counter: type = .counter
        }
        try apply(mutations, isCounter: kind == .counter && !deletes, type: type, isLast: isLast, options, io)
    }

    // Not inlined, like the other parts of a batch: with one inside the other the optimizer of Swift 6.3.1 fails.
    @inline(never) private func encode(
        _ item: (compiled: CompiledModification, values: ValueList), _ kind: BatchPlan.Kind, timestamp: Int64, _ options: QueryOptions,
        _ now: UInt32, _ io: IOMode, _ space: inout Workspace
    ) throws(QueryFailure) {
        try check(
            options, item.compiled.replication,
            kind == .counter ? .counterWrite(table: item.compiled.plan.table.name) : .write)
        let encoder = ModificationEncoder(compiled: item.compiled, port: port(options), io: io, limits: limits)
        let times = try encoder.times(item.values, timestamp: timestamp, now: now, &space.context)
        try encoder.encode(item.values, times, space: &space)
    }

    /// A counter batch that deletes as well as counts: deletions are plain writes and go first, of the same timestamp.
    private func writeCounterBatch(
        _ items: [(compiled: CompiledModification, values: ValueList)], timestamp: Int64, _ options: QueryOptions, _ now: UInt32,
        _ io: IOMode, _ space: inout Workspace
    ) throws(QueryFailure) -> Answer {
        // Half a batch must not be repeated.
        guard io == .blocking else { throw .wouldBlock }
        let deletions = items.filter { $0.compiled.plan.kind == .delete }
        let counts = items.filter { $0.compiled.plan.kind != .delete }
        var answer = try writeTogether(.counter, deletions, timestamp: timestamp, options, now, io, &space)
        answer.warnings += try writeTogether(.counter, counts, timestamp: timestamp, options, now, io, &space).warnings
        return answer
    }

    @inline(never) private func checkKinds(
        _ kind: BatchPlan.Kind, _ items: [(compiled: CompiledModification, values: ValueList)]
    ) throws(QueryFailure) {
        for item in items where item.compiled.plan.isCounter != (kind == .counter) {
            switch kind {
            case .counter: throw .invalid("Cannot include non-counter statement in a counter batch")
            case .logged: throw .invalid("Cannot include a counter statement in a logged batch")
            case .unlogged: throw .invalid("Counter and non-counter mutations cannot exist in the same batch")
            }
        }
    }

    /// - Throws: when the batch is too large.
    @inline(never) private func verifySize(
        _ kind: BatchPlan.Kind, _ items: [(compiled: CompiledModification, values: ValueList)], _ mutations: borrowing MutationWriter
    ) throws(QueryFailure) -> [String] {
        let size = mutations.count
        let isLarge = size > limits.batchSizeWarnThreshold
        let couldSpan = kind == .unlogged && items.count > limits.unloggedBatchAcrossPartitionsWarnThreshold
        guard isLarge || couldSpan else { return [] }
        let partitions = BatchShape.distinctPartitions(mutations.out.bytes)
        var names: [String] = []
        for item in items where !names.contains(item.compiled.plan.table.qualifiedName) {
            names.append(item.compiled.plan.table.qualifiedName)
        }
        let tables = names.joined(separator: ", ")
        var warnings: [String] = []
        // A batch of one partition is one write, whatever its size.
        if isLarge && partitions > 1 {
            if size > limits.batchSizeFailThreshold { throw .invalid("Batch too large") }
            warnings.append(
                "Batch for [\(tables)] is of size \(BatchShape.text(size)), exceeding specified threshold of "
                    + "\(BatchShape.text(limits.batchSizeWarnThreshold)) by \(BatchShape.text(size - limits.batchSizeWarnThreshold)).")
        }
        if kind == .unlogged && partitions > limits.unloggedBatchAcrossPartitionsWarnThreshold {
            warnings.append(
                "Unlogged batch covering \(partitions) partitions detected against table\(names.count == 1 ? "" : "s") [\(tables)]. "
                    + "You should use a logged batch for atomicity, or asynchronous writes for performance.")
        }
        return warnings
    }
}

/// What a batch's mutations look like, for its warnings.
enum BatchShape {
    @inline(never) static func deletesFirst(_ items: [(compiled: CompiledModification, values: ValueList)]) -> Bool {
        items.first.map { $0.compiled.plan.kind == .delete } ?? false
    }

    /// Whether some of the statements delete and some do not.
    static func countsAndDeletes(_ items: [(compiled: CompiledModification, values: ValueList)]) -> Bool {
        var deletes = 0
        for item in items where item.compiled.plan.kind == .delete { deletes += 1 }
        return deletes > 0 && deletes < items.count
    }

    /// How many partitions the mutations touch.
    static func distinctPartitions(_ mutations: UnsafeRawBufferPointer) -> Int {
        var seen: Set<UUID> = []
        var reader = MutationReader(mutations)
        do throws(ByteError) {
            while try reader.nextTable() {
                guard let operation = try reader.nextOperation() else { continue }
                let partition = KeyView(operation.key).partition
                seen.insert(
                    UUID(high: Checksum.xxh3(partition, seed: reader.table.high), low: Checksum.xxh3(partition, seed: reader.table.low)))
            }
        } catch { return seen.count }
        return seen.count
    }

    /// `6.250KiB`.
    static func text(_ bytes: Int) -> String {
        if bytes < 1024 { return "\(bytes)B" }
        let thousandths = bytes < 1 << 20 ? bytes * 1000 / 1024 : bytes * 1000 / (1 << 20)
        let fraction = String(thousandths % 1000)
        return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction + (bytes < 1 << 20 ? "KiB" : "MiB")
    }
}
