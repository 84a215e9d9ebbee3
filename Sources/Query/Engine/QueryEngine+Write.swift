import CQL
import Coordinator
import DataModel
import Messages
import Primitives

extension QueryEngine {
    /// Executes one INSERT, UPDATE or DELETE.
    @inline(__always) func write(
        _ compiled: CompiledModification, _ values: ValueList, _ options: QueryOptions, _ context: RequestContext
    ) throws(ServerError) -> StatementResult {
        if compiled.isVirtual { try checkWritable(compiled.plan.table) }
        if compiled.isConditional { return try conditional([(compiled, values)], isBatch: false, options, context) }
        let request: ConsistencyCheck.Request =
            compiled.isCounter ? .counterWrite(table: compiled.plan.table.name) : .write
        try check(options, compiled.replication, request)
        let encoder = ModificationEncoder(compiled: compiled, port: port(options), limits: limits)
        let times = try encoder.times(
            values, timestamp: options.timestamp ?? clock.next(), now: context.nowSeconds, &context.workspace.context)
        context.workspace.beginMutations()
        try encoder.encode(values, times, space: &context.workspace)
        let isCount = compiled.isCounter && compiled.plan.kind != .delete
        context.hasWritten = true
        try apply(context.workspace.mutations, isCounter: isCount, type: .simple, options)
        return .void
    }

    @inline(__always) private func apply(
        _ mutations: borrowing MutationWriter, isCounter: Bool, type: WriteType, _ options: QueryOptions
    ) throws(ServerError) {
        guard mutations.count > 0 else { return }
        do throws(ReplicaError) {
            let port = port(options)
            if isCounter { try port.applyCounters(mutations) } else { try port.apply(mutations, type: type) }
        } catch { throw ServerError(error) }
    }

    @inline(__always) func checkWritable(_ table: TableMetadata) throws(ServerError) {
        guard table.isVirtual else { return }
        throw ServerError(.unauthorized, "\(table.keyspace) keyspace is not user-modifiable.")
    }

    private func conditional(
        _ items: [BoundModification], isBatch: Bool, _ options: QueryOptions,
        _ context: RequestContext
    ) throws(ServerError) -> StatementResult {
        guard let first = items.first else { return .void }
        try ConsistencyCheck.checkSerial(options.serialConsistency, first.compiled.replication, alive: alive(options))
        try check(options, first.compiled.replication, .conditionalCommit)
        context.hasWritten = true
        let executor = ConditionalExecutor(items: items, isBatch: isBatch, port: port(options), limits: limits)
        return try executor.run(now: context.nowSeconds, nextTimestamp: { clock.next() }, space: &context.workspace)
    }

    // MARK: Batches

    /// Executes the batch of a BATCH message.
    public func executeBatch(
        _ kind: BatchPlan.Kind, _ statements: [(statement: PreparedStatement, values: ValueList)],
        options: QueryOptions,
        context: RequestContext
    ) throws(ServerError) -> Answer {
        context.begin(startedMicroseconds: clock.nowMicroseconds, nowInSeconds: options.nowInSeconds)
        defer {
            noteDuration(
                "a batch of \(statements.count) statements, the first: \(statements.first?.statement.text ?? "")",
                since: context.startedMicroseconds)
        }
        if !options.isTracing { return try executeWithCurrentSchema(kind, statements, options, context) }
        let trace = traces.begin(
            "Execute batch of \(statements.count) statements", options: options, node: node, command: "BATCH",
            startedMicroseconds: context.startedMicroseconds)
        context.trace = trace
        defer { traces.finish(trace) }
        var answer = try executeWithCurrentSchema(kind, statements, options, context)
        answer.tracingID = trace.id
        return answer
    }

    private func executeWithCurrentSchema(
        _ kind: BatchPlan.Kind, _ statements: [(statement: PreparedStatement, values: ValueList)],
        _ options: QueryOptions,
        _ context: RequestContext
    ) throws(ServerError) -> Answer {
        while true {
            let items = try compiledItems(statements)
            do throws(ServerError) { return try writeBatch(kind, items, timestamp: nil, options, context) } catch {
                try rethrowUnlessTruncated(
                    Compiled.replaceable(kind, items.map(\.compiled.plan.table.id)), error, options, context)
            }
        }
    }

    private func compiledItems(
        _ statements: [(statement: PreparedStatement, values: ValueList)]
    ) throws(ServerError) -> [BoundModification] {
        var items: [BoundModification] = []
        for (statement, values) in statements {
            let compiled = try current(statement)
            guard let modification = compiled.modification else {
                throw .invalid("Invalid statement in batch: only UPDATE, INSERT and DELETE statements are allowed.")
            }
            guard values.names.isEmpty, values.count == compiled.planned.bindVariables.count else {
                throw .invalid(
                    "There were \(compiled.planned.bindVariables.count) markers(?) in CQL but \(values.count) bound variables"
                )
            }
            items.append((modification, values))
        }
        return items
    }

    func writeBatch(
        _ kind: BatchPlan.Kind, _ items: [BoundModification], timestamp: Int64?,
        _ options: QueryOptions,
        _ context: RequestContext
    ) throws(ServerError) -> Answer {
        guard !items.isEmpty else { return Answer(result: .void) }
        for item in items { try checkWritable(item.compiled.plan.table) }
        try checkKinds(kind, items)
        if items.contains(where: { $0.compiled.plan.isConditional }) {
            return Answer(result: try conditional(items, isBatch: true, options, context))
        }
        let writeTime = timestamp ?? options.timestamp ?? clock.next()
        guard kind == .counter && BatchShape.countsAndDeletes(items) else {
            return try writeTogether(kind, items, timestamp: writeTime, options, context)
        }
        // Deletions are plain writes. They go first, with the same timestamp.
        var answer = try writeTogether(
            kind, items.filter { $0.compiled.plan.kind == .delete }, timestamp: writeTime, options, context)
        answer.warnings += try writeTogether(
            kind, items.filter { $0.compiled.plan.kind != .delete }, timestamp: writeTime, options, context
        ).warnings
        return answer
    }

    /// Writes the statements of a batch as one mutation.
    @inline(never) private func writeTogether(
        _ kind: BatchPlan.Kind, _ items: [BoundModification], timestamp: Int64,
        _ options: QueryOptions,
        _ context: RequestContext
    ) throws(ServerError) -> Answer {
        context.workspace.beginMutations()
        // An index loop without closures: the optimizer of Swift 6.3.1 fails on a loop over the elements.
        var index = 0
        while index < items.count {
            context.workspace.context.statement = index
            try encode(items[index], kind, timestamp: timestamp, options, context.nowSeconds, &context.workspace)
            index += 1
        }
        let warnings = try verifySize(kind, items, context.workspace.mutations)
        let type: WriteType =
            switch kind {
            case .logged: .batch
            case .unlogged: .unloggedBatch
            case .counter: .counter
            }
        context.hasWritten = true
        // At this point either all statements delete or none does.
        try apply(
            context.workspace.mutations, isCounter: kind == .counter && !BatchShape.deletesFirst(items), type: type,
            options)
        return Answer(result: .void, warnings: warnings + (options.port?.warnings ?? []))
    }

    // Not inlined, like the other parts of a batch: the optimizer of Swift 6.3.1 fails on nested inlining here.
    @inline(never) private func encode(
        _ item: BoundModification, _ kind: BatchPlan.Kind, timestamp: Int64,
        _ options: QueryOptions,
        _ now: UInt32, _ space: inout Workspace
    ) throws(ServerError) {
        try check(
            options, item.compiled.replication,
            kind == .counter ? .counterWrite(table: item.compiled.plan.table.name) : .write)
        let encoder = ModificationEncoder(compiled: item.compiled, port: port(options), limits: limits)
        let times = try encoder.times(item.values, timestamp: timestamp, now: now, &space.context)
        try encoder.encode(item.values, times, space: &space)
    }

    @inline(never) private func checkKinds(
        _ kind: BatchPlan.Kind, _ items: [BoundModification]
    ) throws(ServerError) {
        for item in items where item.compiled.plan.isCounter != (kind == .counter) {
            switch kind {
            case .counter: throw .invalid("Cannot include non-counter statement in a counter batch")
            case .logged: throw .invalid("Cannot include a counter statement in a logged batch")
            case .unlogged: throw .invalid("Counter and non-counter mutations cannot exist in the same batch")
            }
        }
    }

    /// Returns the warnings for a large batch.
    /// - Throws: when the batch is too large.
    @inline(never) private func verifySize(
        _ kind: BatchPlan.Kind, _ items: [BoundModification],
        _ mutations: borrowing MutationWriter
    ) throws(ServerError) -> [String] {
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
        // A batch of one partition is a single write, whatever its size.
        if isLarge && partitions > 1 {
            if size > limits.batchSizeFailThreshold { throw .invalid("Batch too large") }
            warnings.append(
                "Batch for [\(tables)] is of size \(BatchShape.text(size)), exceeding specified threshold of "
                    + "\(BatchShape.text(limits.batchSizeWarnThreshold)) by \(BatchShape.text(size - limits.batchSizeWarnThreshold))."
            )
        }
        if kind == .unlogged && partitions > limits.unloggedBatchAcrossPartitionsWarnThreshold {
            warnings.append(
                "Unlogged batch covering \(partitions) partitions detected against table\(names.count == 1 ? "" : "s") [\(tables)]. "
                    + "You should use a logged batch for atomicity, or asynchronous writes for performance.")
        }
        return warnings
    }
}

/// The shape of a batch, for its execution and its warnings.
enum BatchShape {
    @inline(never) static func deletesFirst(_ items: [BoundModification]) -> Bool {
        items.first.map { $0.compiled.plan.kind == .delete } ?? false
    }

    /// Whether some of the statements delete and some do not.
    static func countsAndDeletes(_ items: [BoundModification]) -> Bool {
        var deletes = 0
        for item in items where item.compiled.plan.kind == .delete { deletes += 1 }
        return deletes > 0 && deletes < items.count
    }

    /// The number of partitions the mutations touch.
    static func distinctPartitions(_ mutations: UnsafeRawBufferPointer) -> Int {
        var seen: Set<UUID> = []
        var reader = MutationReader(mutations)
        do throws(ByteError) {
            while try reader.nextTable() {
                guard let operation = try reader.nextOperation() else { continue }
                let partition = KeyView(operation.key).partition
                seen.insert(
                    UUID(
                        high: Checksum.xxh3(partition, seed: reader.table.high),
                        low: Checksum.xxh3(partition, seed: reader.table.low)))
            }
        } catch { return seen.count }
        return seen.count
    }

    /// A size with its unit, for example `6.250KiB`.
    static func text(_ bytes: Int) -> String {
        if bytes < 1024 { return "\(bytes)B" }
        let thousandths = bytes < 1 << 20 ? bytes * 1000 / 1024 : bytes * 1000 / (1 << 20)
        let fraction = String(thousandths % 1000)
        return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
            + (bytes < 1 << 20 ? "KiB" : "MiB")
    }
}
