import CQL
import Coordinator
import DataModel
import Messages
import Platform
import Primitives

/// Runs a SELECT: evaluates keys and ranges, reads them through the port, and projects the rows.
struct SelectExecutor {
    let select: CompiledSelect
    let port: any ReplicaPort
    let limits: QueryLimits

    /// - Parameter text: the statement's text, for warnings.
    func run(
        _ values: ValueList, _ options: QueryOptions, _ context: RequestContext, text: String, warnings: inout [String]
    ) throws(ServerError) -> ResultRows {
        try joinTransactions(options)
        context.limit(to: select.isByKey ? limits.readTimeout : limits.rangeTimeout, isRead: true)
        // A local scan of a whole table gets a background thread instead of many slices of the loop.
        guard select.point == nil, !select.isByKey, !select.plan.table.isVirtual, !port.isCoordinated else {
            return try run(values, options, context, text, &context.workspace, &warnings)
        }
        return try Fiber.blocking(.read) { () throws(ServerError) in
            try run(values, options, context, text, &context.workspace, &warnings)
        }
    }

    /// On a node without a coordinator a SELECT at SERIAL comes after the transactions under way, like one of them.
    private func joinTransactions(_ options: QueryOptions) throws(ServerError) {
        guard options.consistency == .serial || options.consistency == .localSerial, !port.isCoordinated,
            !select.plan.table.isVirtual
        else { return }
        do throws(ReplicaError) {
            try port.withTransaction(table: select.plan.table.id, partition: [], reading: nil) { true }
        } catch { throw ServerError(error) }
    }

    private func run(
        _ values: ValueList, _ options: QueryOptions, _ context: RequestContext, _ text: String,
        _ space: inout Workspace,
        _ warnings: inout [String]
    ) throws(ServerError) -> ResultRows {
        let plan = select.plan
        var run = SelectRun(
            now: context.nowSeconds, values: values, pageSize: options.pageSize > 0 ? options.pageSize : .max,
            limit: try limit(plan.limit, "LIMIT", values, &space.context),
            perPartitionLimit: try limit(plan.perPartitionLimit, "PER PARTITION LIMIT", values, &space.context),
            limits: limits,
            deadline: context.deadline, memory: context.memory)
        if !plan.postSort.isEmpty {
            guard run.limit <= run.pageSize || run.pageSize == .max else {
                throw .invalid(
                    "Cannot page queries with both ORDER BY and a IN restriction on the partition key; you must either remove the "
                        + "ORDER BY or the IN and sort client side, or disable paging for this query")
            }
            run.pageSize = .max
        }
        var resume: PagingState?
        if let bytes = options.pagingState {
            let state = try PagingState.decode(bytes, fingerprint: select.fingerprint)
            if let remaining = state.remaining { run.limit = min(run.limit, remaining) }
            resume = state
        }
        swap(&space.projector.context, &space.context)
        defer { swap(&space.projector.context, &space.context) }
        let resumeRange: Int
        if let point = select.point {
            if resume == nil { try get(point, run, &space) } else { try space.projector.begin(select, run: run) }
            resumeRange = 0
        } else {
            resumeRange = try select.isByKey ? partitions(run, resume, &space) : scan(run, resume, &space)
        }
        try space.projector.finish()
        defer { space.projector.releaseLargeBuffers() }
        return result(run, resumeRange, text, &space.projector, &warnings)
    }

    private func limit(
        _ term: Term?, _ name: String, _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> Int {
        guard let term else { return .max }
        let (presence, bytes) = try term.array(values, &context)
        switch presence {
        case .unset: return .max
        case .null: throw .invalid("Invalid null value of \(name.lowercased())")
        case .value:
            guard bytes.count == 4 else { throw .invalid("Invalid value of \(name.lowercased())") }
            let value = Int(Int32(bitPattern: bytes.reduce(0) { $0 << 8 | UInt32($1) }))
            guard value > 0 else { throw .invalid("\(name) must be strictly positive") }
            return value
        }
    }

    private func result(
        _ run: SelectRun, _ range: Int, _ text: String, _ projector: inout RowProjector, _ warnings: inout [String]
    ) -> ResultRows {
        if projector.tombstones > limits.tombstoneWarnThreshold {
            warnings.append(
                "Read \(projector.liveRows) live rows and \(projector.tombstones) tombstone cells for query \(text.prefix(512)) "
                    + "(see tombstone_warn_threshold)")
        }
        var state: [UInt8]?
        if let key = projector.resumeKey {
            let samePartition = key.withUnsafeBytes { projector.slots.isInPartition($0) }
            state =
                PagingState(
                    fingerprint: select.fingerprint, range: range,
                    remaining: run.limit == .max ? nil : run.limit - projector.rowCount,
                    inPartition: samePartition ? projector.givenInPartition : 0, key: key
                ).encode()
        }
        return ResultRows(
            metadata: select.plan.selection.metadata, rowCount: projector.rowCount, cells: projector.output.toArray(),
            pagingState: state)
    }

    // MARK: One row

    private func get(_ point: CompiledKey, _ run: SelectRun, _ space: inout Workspace) throws(ServerError) {
        try point.writePartition(run.values, &space.projector.context, value: &space.value, key: &space.key)
        try point.appendClustering(run.values, &space.projector.context, value: &space.value, key: &space.key)
        try space.projector.begin(select, run: run)
        try get(space.key, &space.projector)
    }

    /// Visits the row with exactly this key.
    private func get(_ key: borrowing ByteWriter, _ projector: inout RowProjector) throws(ServerError) {
        let bytes = key.bytes
        do throws(ReplicaError) {
            try port.get(table: select.plan.table.id, key: key) { row in _ = projector.visit(bytes, row) }
        } catch { throw ServerError(error) }
        if let failure = projector.failure { throw failure }
    }

    // MARK: Named partitions

    /// - Returns: the index of the partition in which the page ended.
    private func partitions(_ run: SelectRun, _ resume: PagingState?, _ space: inout Workspace) throws(ServerError)
        -> Int
    {
        let plan = select.plan
        guard case .keys(let restrictions) = plan.partition else { return 0 }
        let named = try keys(restrictions, run, &space)
        let partitions = named.partitions
        var ranges = named.ranges
        try limits.checkProduct(partitions.count, ranges.count)
        if plan.isReversed { ranges.reverse() }
        try space.projector.begin(select, run: run)
        let first = resume?.range ?? 0
        guard first < max(1, partitions.count) else { throw .invalid("Invalid value for the paging state") }
        var deadline = DeadlineLoop(run.deadline, every: 16)
        var announced = first
        var offloads = Fiber.current?.offloads ?? 0
        for index in partitions.indices where index >= first {
            let partition = partitions[index]
            let resumeKey = index == first ? resume?.key : nil
            if index == announced {
                announced = announce(partitions, ranges, from: index, isResumed: resumeKey != nil, offloads: offloads)
                offloads = Fiber.current?.offloads ?? 0
            }
            try partition.withUnsafeBytesTyped { (raw) throws(ServerError) in
                try space.projector.enterPartition(raw, given: index == first ? resume?.inPartition ?? 0 : 0)
            }
            if select.readsStatics { try readStatic(partition, &space) }
            for suffix in ranges {
                try deadline.step()
                if select.namesRows {
                    try visitRow(partition + suffix.start, after: resumeKey, &space)
                    if isOver(space.projector) { return index }
                    continue
                }
                var range = KeyRange(start: partition + suffix.start, end: partition + suffix.end)
                if let resumeKey {
                    if plan.isReversed {
                        // The range ends with the key at which the page begins. A resume key without a kind means the
                        // start of the partition.
                        let end = resumeKey.count == partition.count ? range.end : resumeKey + [0]
                        if compareBytes(end, range.end) < 0 { range.end = end }
                    } else if compareBytes(resumeKey, range.start) > 0 {
                        range.start = resumeKey
                    }
                }
                if !range.isEmpty { try visit(range, &space) }
                if isOver(space.projector) { return index }
            }
            if try space.projector.leavePartition() == .stop { return index }
        }
        return max(0, partitions.count - 1)
    }

    /// Returns the partitions that the statement names and the ranges of clustering keys in each, in stored order.
    private func keys(
        _ restrictions: [KeyRestriction], _ run: SelectRun, _ space: inout Workspace
    ) throws(ServerError) -> (partitions: [[UInt8]], ranges: [KeyRange]) {
        guard select.isLarge || run.values.bytes.count > QueryEngine.largeStatementBytes else {
            return try keysHere(restrictions, run, &space)
        }
        return try Fiber.blocking(.read) { () throws(ServerError) in try keysHere(restrictions, run, &space) }
    }

    private func keysHere(
        _ restrictions: [KeyRestriction], _ run: SelectRun, _ space: inout Workspace
    ) throws(ServerError) -> (partitions: [[UInt8]], ranges: [KeyRange]) {
        let partitions = try PartitionKeys.all(
            restrictions, table: select.plan.table, values: run.values, context: &space.projector.context,
            limits: limits)
        let ranges = try ClusteringKeys.ranges(
            select.plan.clustering, table: select.plan.table, values: run.values, context: &space.projector.context,
            limits: limits)
        return (partitions, ranges)
    }

    /// Announces the reads of the next partitions to the port, so that it starts them together: a coordinator always,
    /// the local replica when the partition before had to wait for the disk.
    /// - Parameter offloads: those of the fiber before that partition.
    /// - Returns: the index of the first partition that is not announced.
    private func announce(
        _ partitions: [[UInt8]], _ ranges: [KeyRange], from first: Int, isResumed: Bool, offloads: UInt64
    ) -> Int {
        if isResumed || (!port.isCoordinated && offloads == Fiber.current?.offloads ?? offloads) { return first + 1 }
        let count = max(1, SelectExecutor.readsAtOnce / max(1, ranges.count + (select.readsStatics ? 1 : 0)))
        let end = min(partitions.count, first + count)
        guard end - first > 1 || ranges.count > 1 else { return end }
        var all: [KeyRange] = []
        for partition in partitions[first..<end] {
            if select.readsStatics {
                var key = ByteWriter(capacity: partition.count + 1)
                key.write(partition)
                KeyEncoding.beginStatic(into: &key)
                all.append(KeyRange(start: key.toArray(), end: key.toArray() + [0]))
            }
            for suffix in ranges.prefix(SelectExecutor.readsAtOnce) {
                let start = partition + suffix.start
                all.append(KeyRange(start: start, end: select.namesRows ? start + [0] : partition + suffix.end))
            }
        }
        port.willRead(table: select.plan.table.id, ranges: all, reversed: select.plan.isReversed)
        return end
    }

    /// The number of reads of a statement that are started together.
    private static let readsAtOnce = 128

    /// Visits one row of a list.
    /// - Parameter resumeKey: the page begins here; rows before it, in the direction of the read, were returned
    ///   earlier.
    private func visitRow(_ key: [UInt8], after resumeKey: [UInt8]?, _ space: inout Workspace) throws(ServerError) {
        if let resumeKey {
            let order = compareBytes(key, resumeKey)
            if select.plan.isReversed ? order > 0 : order < 0 { return }
        }
        space.path.removeAll()
        space.path.write(key)
        try get(space.path, &space.projector)
    }

    private func isOver(_ projector: borrowing RowProjector) -> Bool {
        projector.isComplete || projector.resumeKey != nil
    }

    /// Passes the partition's static row to the projector.
    private func readStatic(_ partition: [UInt8], _ space: inout Workspace) throws(ServerError) {
        space.path.removeAll()
        space.path.write(partition)
        KeyEncoding.beginStatic(into: &space.path)
        try get(space.path, &space.projector)
    }

    // MARK: Scans

    private func scan(_ run: SelectRun, _ resume: PagingState?, _ space: inout Workspace) throws(ServerError) -> Int {
        let plan = select.plan
        var range = KeyRange.all
        if case .tokenRange(let lower, let upper) = plan.partition {
            guard let tokens = try tokenRange(lower, upper, run.values, &space.projector.context) else {
                try space.projector.begin(select, run: run)
                return 0
            }
            range = tokens
        }
        try space.projector.begin(select, run: run)
        if let resume {
            if compareBytes(resume.key, range.start) > 0 { range.start = resume.key }
            try reenterPartition(resume, &space)
        }
        if !range.isEmpty { try visit(range, &space) }
        return 0
    }

    /// Puts the projector back into the partition in which the page begins, after its static row.
    private func reenterPartition(_ resume: PagingState, _ space: inout Workspace) throws(ServerError) {
        let count = resume.key.withUnsafeBytes { KeyView.partitionCount(of: $0) }
        guard resume.key.count > count else { return }
        let partition = Array(resume.key[..<count])
        try partition.withUnsafeBytesTyped { (raw) throws(ServerError) in
            try space.projector.enterPartition(raw, given: resume.inPartition)
        }
        if select.readsStatics { try readStatic(partition, &space) }
    }

    /// - Returns: nil when no token lies between the bounds.
    private func tokenRange(
        _ lower: TokenBound?, _ upper: TokenBound?, _ values: ValueList, _ context: inout EvaluationContext
    ) throws(ServerError) -> KeyRange? {
        func token(_ bound: TokenBound?, _ context: inout EvaluationContext) throws(ServerError) -> Int64? {
            guard let bound else { return nil }
            let (presence, bytes) = try bound.term.array(values, &context)
            guard presence == .value, bytes.count == 8 else {
                throw .invalid("Invalid null value for the token of the partition key")
            }
            return Int64(bitPattern: bytes.reduce(0) { $0 << 8 | UInt64($1) })
        }
        var after = Int64.min
        var through = Int64.max
        if let lower, let value = try token(lower, &context) {
            after = lower.isInclusive && value > .min ? value - 1 : value
        }
        // The minimum token as an upper bound means the end of the ring.
        if let upper, let value = try token(upper, &context), value != .min {
            guard upper.isInclusive || value > .min + 1 else { return nil }
            through = upper.isInclusive ? value : value - 1
        }
        return after < through ? KeyRange.tokens(after: after, through: through) : nil
    }

    /// Visits a range; restarts the scan where the projector skips the rest of a partition.
    private func visit(_ range: KeyRange, _ space: inout Workspace) throws(ServerError) {
        var range = range
        while true {
            do throws(ReplicaError) {
                try port.scan(table: select.plan.table.id, range: range, reversed: select.plan.isReversed) { key, row in
                    space.projector.visit(key, row)
                }
            } catch { throw ServerError(error) }
            if let failure = space.projector.failure { throw failure }
            guard let seek = space.projector.takeSeek() else { return }
            if select.plan.isReversed || compareBytes(seek, range.end) >= 0 { return }
            range.start = seek
        }
    }
}
