import CQL
import DataModel
import Glibc
import Primitives

/// Turns the rows that a replica visits, in key order, into the cells of a result.
///
/// 1. Call `begin`; for named partitions `enterPartition` and `loadStatic`; `visit` for each row; then `finish`.
/// 2. A change of partition ends the previous one. If that had no rows but a live static row, it yields one result row.
/// 3. A live row that passes the filters becomes a result row or is added to its group.
/// 4. When the page is full, the key of the next row is stored in `resumeKey` and the visit stops.
struct RowProjector: ~Copyable {
    var slots = RowDecoder()
    /// The result cells so far.
    var output = ByteWriter(capacity: 4096)
    private(set) var rowCount = 0
    var groups = GroupState()
    var sorting = SortState()
    var filters = FilterSet()
    var context = EvaluationContext()

    private(set) var select: CompiledSelect?
    var run = SelectRun(
        now: 0, values: ValueList(), pageSize: .max, limit: .max, perPartitionLimit: .max, limits: QueryLimits(),
        deadline: .none)
    /// The error that stopped the visit.
    private(set) var failure: ServerError?
    /// The key at which the next page begins.
    private(set) var resumeKey: [UInt8]?
    /// The key at which the scan must restart, to skip the rest of a partition.
    private(set) var seekKey: [UInt8]?
    /// LIMIT is reached: there is no next page.
    private(set) var isComplete = false
    /// Rows (groups) of the current partition returned, in this page and earlier ones.
    private(set) var givenInPartition = 0

    private var isPlain = false
    private var partitionHadRows = false
    private var skipsRest = false
    private var skipped = 0
    private var visited = 0
    private var counted: Int64 = 0
    /// Dead rows seen by `countsOnly`.
    private var deadRows = 0
    private(set) var liveRows = 0
    /// Tombstones seen before the current stretch of rows; the failure threshold applies per stretch.
    private var tombstonesBefore = 0

    init() {}

    /// Live rows per stretch: the tombstone failure threshold applies to each stretch, because a read without pages may
    /// cover a whole table.
    private static let rowsPerTombstoneLimit = 10_000

    /// Rows of a partition to skip one by one before the scan restarts behind the partition.
    private static let rowsBeforeSeek = 64

    mutating func begin(_ select: CompiledSelect, run: SelectRun) throws(ServerError) {
        self.select = select
        self.run = run
        output.removeAll()
        rowCount = 0
        failure = nil
        resumeKey = nil
        seekKey = nil
        isComplete = false
        givenInPartition = 0
        isPlain = select.plan.selection.isPlain && !select.plan.isAggregated && select.plan.postSort.isEmpty
        partitionHadRows = false
        skipsRest = false
        skipped = 0
        visited = 0
        counted = 0
        deadRows = 0
        liveRows = 0
        tombstonesBefore = 0
        slots.configure(select.layout)
        filters.removeAll()
        if !select.plan.filters.isEmpty { try filters.prepare(select, run.values, &context) }
        if select.plan.isAggregated { groups.reset() }
        if !select.plan.postSort.isEmpty { sorting.reset() }
    }

    // MARK: Partitions

    /// Begins a named partition.
    /// - Parameter given: rows of it that earlier pages returned; more than zero means the partition has rows.
    mutating func enterPartition(_ key: UnsafeRawBufferPointer, given: Int = 0) throws(ServerError) {
        do throws(KeyError) { try slots.enterPartition(key) } catch { throw ServerError(error) }
        partitionHadRows = given > 0
        givenInPartition = given
        skipsRest = given >= run.perPartitionLimit
        skipped = 0
    }

    mutating func loadStatic(_ row: RowView) throws(ServerError) {
        do throws(KeyError) { try slots.loadStatic(row, now: run.now) } catch { throw ServerError(error) }
    }

    /// Ends the current partition.
    /// - Returns: `stop` when its row belongs to the next page, or when LIMIT is reached.
    mutating func leavePartition() throws(ServerError) -> ScanStep {
        guard slots.partition.count > 0, !partitionHadRows, slots.hasLiveStatic, select?.givesStaticOnlyRows == true
        else {
            return isComplete ? .stop : .next
        }
        partitionHadRows = true
        slots.loadMissingRow()
        guard try filters.pass(slots) else { return .next }
        return try accept(key: slots.partition.bytes)
    }

    // MARK: Rows

    /// Processes a row of the scan. Stores an error in `failure` and stops the visit.
    mutating func visit(_ key: UnsafeRawBufferPointer, _ row: RowView) -> ScanStep {
        do throws(ServerError) {
            return try take(key, row)
        } catch {
            failure = error
            return .stop
        }
    }

    private mutating func take(_ key: UnsafeRawBufferPointer, _ row: RowView) throws(ServerError) -> ScanStep {
        guard let select else { return .stop }
        visited &+= 1
        if visited & 0xff == 0 { try run.deadline.check() }
        if select.countsOnly {
            if row.isLive(now: run.now) { counted += 1 } else { deadRows += 1 }
            return .next
        }
        if !slots.isInPartition(key) {
            if try leavePartition() == .stop { return .stop }
            try enterPartition(key)
        }
        let kindAt = slots.partition.count
        guard key.count > kindAt else { return .next }
        if key[kindAt] == KeyView.staticKind {
            if select.readsStatics { try loadStatic(row) }
            return .next
        }
        if skipsRest {
            skipped += 1
            guard skipped > RowProjector.rowsBeforeSeek else { return .next }
            seekKey = [UInt8](slots.partition.bytes) + [0xff]
            return .stop
        }
        let live: Bool
        do throws(KeyError) { live = try slots.load(key: key, row: row, now: run.now) } catch {
            throw ServerError(error)
        }
        if slots.tombstones - tombstonesBefore > run.limits.tombstoneFailureThreshold { throw tooManyTombstones() }
        guard live else { return .next }
        liveRows += 1
        if liveRows % RowProjector.rowsPerTombstoneLimit == 0 { tombstonesBefore = slots.tombstones }
        partitionHadRows = true
        if !filters.isEmpty {
            // The next match may be far away: leave the search to the next page.
            if isPageFull && !select.plan.isAggregated {
                resumeKey = [UInt8](key)
                return .stop
            }
            guard try filters.pass(slots) else { return .next }
        }
        return try accept(key: key)
    }

    /// Tombstones seen: dead cells and rows.
    var tombstones: Int { slots.tombstones + deadRows }

    private var isPageFull: Bool {
        rowCount >= run.pageSize || (run.pageSize != .max && output.count >= run.limits.maxResultSize / 4)
    }

    /// Adds the row in `slots` to the result or to its group.
    private mutating func accept(key: UnsafeRawBufferPointer) throws(ServerError) -> ScanStep {
        guard let select else { return .stop }
        if select.plan.isAggregated { return try acceptIntoGroup(key, select) }
        if isPageFull {
            resumeKey = [UInt8](key)
            return .stop
        }
        try give(select)
        givenInPartition += 1
        if givenInPartition >= run.perPartitionLimit || select.plan.isDistinct { skipsRest = true }
        if rowCount >= run.limit && select.plan.postSort.isEmpty {
            isComplete = true
            return .stop
        }
        return .next
    }

    /// Appends the row in `slots` to the result.
    @inline(__always) private mutating func give(_ select: CompiledSelect) throws(ServerError) {
        if isPlain {
            for index in 0..<select.plan.selection.selectors.count { slots.write(index, to: &output) }
        } else {
            let start = output.count
            for selector in select.plan.selection.selectors { try write(selector, inGroup: false) }
            if !select.plan.postSort.isEmpty { try sorting.add(start..<output.count, select.plan, slots) }
        }
        rowCount += 1
        if output.count > run.limits.maxResultSize { throw tooLarge() }
        // The cells here, and the frame that they are copied into.
        try run.memory?.grow(to: 2 * output.count)
    }

    // MARK: Groups

    private mutating func acceptIntoGroup(_ key: UnsafeRawBufferPointer, _ select: CompiledSelect) throws(ServerError)
        -> ScanStep
    {
        let plan = select.plan
        if plan.groupByPrefixCount > 0 {
            let prefix = try groups.prefixCount(of: key, plan)
            if !groups.continues(key, prefix) {
                if try closeGroup(select) == .stop { return .stop }
                if givenInPartition >= run.perPartitionLimit {
                    skipsRest = true
                    return .next
                }
                if isPageFull {
                    resumeKey = [UInt8](key)
                    return .stop
                }
                groups.open(key, prefix)
                groups.keep(slots, columns: select.layout.columns.count, now: run.now)
                groups.makeAccumulators(plan.selection.aggregates)
            }
        } else if !groups.isOpen {
            groups.open(key, 0)
            groups.keep(slots, columns: select.layout.columns.count, now: run.now)
            groups.makeAccumulators(plan.selection.aggregates)
        }
        try accumulate(plan.selection.aggregates)
        return .next
    }

    private mutating func accumulate(_ aggregates: [Aggregate]) throws(ServerError) {
        for index in aggregates.indices {
            switch aggregates[index].argument {
            case .none: try groups.add(nil, to: index)
            case .column(let slot): try groups.add(slots.value(slot), to: index)
            case .some(let argument):
                let value = try evaluate(argument, inGroup: false)
                if let value {
                    try value.withUnsafeBytesTyped { (raw) throws(ServerError) in try groups.add(raw, to: index) }
                } else {
                    try groups.add(nil, to: index)
                }
            }
        }
    }

    /// Appends the open group's row to the result.
    private mutating func closeGroup(_ select: CompiledSelect) throws(ServerError) -> ScanStep {
        guard groups.isOpen else { return .next }
        let start = output.count
        for selector in select.plan.selection.selectors { try write(selector, inGroup: true) }
        if !select.plan.postSort.isEmpty { try sorting.add(start..<output.count, select.plan, slots) }
        if groups.isInPartition(slots.partition.bytes) { givenInPartition += 1 }
        groups.close()
        rowCount += 1
        if rowCount >= run.limit && select.plan.postSort.isEmpty {
            isComplete = true
            return .stop
        }
        return .next
    }

    // MARK: End

    /// Ends the visit: closes the last partition and the last group, and adds the single row of an ungrouped aggregate.
    mutating func finish() throws(ServerError) {
        guard let select, failure == nil else { return }
        if select.countsOnly {
            output.writeBE(Int32(8))
            output.writeBE(counted)
            rowCount = 1
            return
        }
        if resumeKey == nil && !isComplete { _ = try leavePartition() }
        if resumeKey == nil && !isComplete && select.plan.isAggregated {
            if !groups.isOpen && select.plan.groupByPrefixCount == 0 {
                groups.open(UnsafeRawBufferPointer(start: nil, count: 0), 0)
                groups.keepEmptyRow(columns: select.layout.columns.count)
                groups.makeAccumulators(select.plan.selection.aggregates)
            }
            _ = try closeGroup(select)
        }
        if !select.plan.postSort.isEmpty { rowCount = sorting.apply(to: &output, limit: run.limit) }
    }

    /// Releases the output buffer after an answer of more than 1 MiB.
    mutating func releaseLargeBuffers() {
        if output.count > 1 << 20 { output = ByteWriter(capacity: 4096) }
    }

    mutating func takeSeek() -> [UInt8]? {
        defer { seekKey = nil }
        return seekKey
    }

    static func monotonicNanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private func tooManyTombstones() -> ServerError {
        ServerError(
            .readFailure,
            "Operation failed - received 0 responses and 1 failures: READ_TOO_MANY_TOMBSTONES (more than "
                + "\(run.limits.tombstoneFailureThreshold) tombstones scanned; see tombstone_failure_threshold)",
            detail: .readFailure(consistency: .one, received: 0, required: 1, failures: 1, dataPresent: false))
    }

    private func tooLarge() -> ServerError {
        .invalid(
            "The answer is larger than \(run.limits.maxResultSize) bytes; read it in pages (a page size in the request), or use LIMIT"
        )
    }
}
