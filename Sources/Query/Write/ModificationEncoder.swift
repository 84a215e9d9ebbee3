import CQL
import Coordinator
import DataModel
import Primitives

/// Encodes an INSERT, UPDATE or DELETE into the workspace's mutations.
struct ModificationEncoder {
    let compiled: CompiledModification
    /// Reads lists for operations that need their contents.
    let port: any ReplicaPort
    let limits: QueryLimits

    private var plan: ModificationPlan { compiled.plan }
    private var table: TableMetadata { compiled.plan.table }

    /// Returns the timestamp and time to live of the write.
    /// - Parameters:
    ///   - timestamp: used unless the statement has USING TIMESTAMP.
    func times(
        _ values: ValueList, timestamp: Int64, now: UInt32, _ context: inout EvaluationContext
    ) throws(ServerError) -> WriteTimes {
        var times = WriteTimes(timestamp: timestamp, now: now)
        if compiled.hasTimestamp, let term = plan.timestamp,
            let own = try WriteTerms.timestamp(term, values, &context)
        {
            times.timestamp = own
        }
        if times.timestamp == .min || times.timestamp == .min + 1 {
            throw .invalid("\(times.timestamp) is not a usable write timestamp; the smallest is \(Int64.min + 2)")
        }
        times.ttl =
            compiled.hasTimeToLive
            ? try WriteTerms.timeToLive(plan.timeToLive, values, &context, default: compiled.defaultTimeToLive)
            : compiled.defaultTimeToLive
        return times
    }

    /// Appends the statement's mutations, one per partition.
    @inline(__always) func encode(
        _ values: ValueList, _ times: WriteTimes, space: inout Workspace
    ) throws(ServerError) {
        if let single = compiled.single {
            try single.writePartition(values, &space.context, value: &space.value, key: &space.key)
            try encodeSingle(single, values, times, space: &space)
        } else {
            try encodeProduct(values, times, space: &space)
        }
        guard space.mutations.count <= limits.maxMutationSize else {
            throw .invalid(
                "Mutation of \(space.mutations.count) bytes is too large for the maximum size of \(limits.maxMutationSize) (max_mutation_size)"
            )
        }
    }

    /// Encodes a write to one row; its partition is in `key`.
    private func encodeSingle(
        _ single: CompiledKey, _ values: ValueList, _ times: WriteTimes, space: inout Workspace
    ) throws(ServerError) {
        let start = space.mutations.count
        let partitionCount = space.key.count
        space.mutations.beginTable(compiled.table)
        let empty = space.mutations.count
        if compiled.writesStatics {
            KeyEncoding.beginStatic(into: &space.key)
            try encodeRow(compiled.staticOperations, liveness: false, values, times, space: &space)
            space.key.truncate(to: partitionCount)
        }
        switch compiled.target {
        case .partitions: deletePartition(times, &space)
        case .rows:
            try single.appendClustering(values, &space.context, value: &space.value, key: &space.key)
            deleteRow(times, &space)
        case .slices: break
        case .cells:
            if !compiled.affectsOnlyStatics && (compiled.writesRowMarker || compiled.writesRows) {
                try single.appendClustering(values, &space.context, value: &space.value, key: &space.key)
                try encodeRow(values, times, space: &space)
            }
        }
        endTable(start: start, empty: empty, &space)
    }

    /// Ends the mutation, or removes it if it is empty.
    private func endTable(start: Int, empty: Int, _ space: inout Workspace) {
        if space.mutations.count == empty {
            space.mutations.out.truncate(to: start)
        } else {
            space.mutations.endTable()
        }
    }

    /// Deletes the partition in `key`; without clustering columns that is a single row.
    private func deletePartition(_ times: WriteTimes, _ space: inout Workspace) {
        if table.clustering.isEmpty {
            KeyEncoding.beginRow(into: &space.key)
            deleteRow(times, &space)
        } else {
            space.mutations.deleteRange(.prefix(space.key.toArray()), deletion: times.deletion)
        }
    }

    /// Deletes the row whose key is in `key`.
    private func deleteRow(_ times: WriteTimes, _ space: inout Workspace) {
        space.mutations.beginRow(key: space.key, timestamp: .min, liveness: false, deletion: times.deletion)
        space.mutations.endRow()
    }

    private func encodeProduct(_ values: ValueList, _ times: WriteTimes, space: inout Workspace) throws(ServerError) {
        let partitions = try PartitionKeys.all(
            plan.partition, table: table, values: values, context: &space.context, limits: limits)
        var ranges: [KeyRange] = []
        if plan.target != .partitions && !plan.affectsOnlyStatics {
            ranges = try ClusteringKeys.ranges(
                plan.clustering, table: table, values: values, context: &space.context,
                limits: limits)
        }
        try limits.checkProduct(partitions.count, ranges.count)
        var deadline = DeadlineLoop(Deadline(after: limits.requestTimeout, isRead: false), every: 64)
        for partition in partitions {
            try deadline.step()
            let start = space.mutations.count
            space.mutations.beginTable(table.id)
            let empty = space.mutations.count
            space.key.removeAll()
            space.key.write(partition)
            if !compiled.staticOperations.isEmpty {
                KeyEncoding.beginStatic(into: &space.key)
                try encodeRow(compiled.staticOperations, liveness: false, values, times, space: &space)
            }
            switch plan.target {
            case .partitions: deletePartition(times, &space)
            case .slices:
                for range in ranges {
                    space.mutations.deleteRange(
                        KeyRange(start: partition + range.start, end: partition + range.end), deletion: times.deletion)
                }
            case .rows, .cells:
                for range in ranges {
                    try deadline.step()
                    space.key.removeAll()
                    space.key.write(partition)
                    space.key.write(range.start)
                    if plan.target == .rows {
                        deleteRow(times, &space)
                    } else if plan.writesRowMarker || !compiled.rowOperations.isEmpty {
                        try encodeRow(values, times, space: &space)
                    }
                }
            }
            endTable(start: start, empty: empty, &space)
        }
    }

    /// Appends the regular row whose key is in `key`; appends nothing when no operation has an effect.
    @inline(__always) private func encodeRow(_ values: ValueList, _ times: WriteTimes, space: inout Workspace)
        throws(ServerError)
    {
        guard let cells = compiled.cells else {
            return try encodeRow(
                compiled.rowOperations, liveness: compiled.writesRowMarker, values, times, space: &space)
        }
        let start = space.mutations.count
        space.mutations.beginRow(
            key: space.key, timestamp: times.timestamp, liveness: compiled.writesRowMarker, ttl: times.ttl,
            expires: times.expires)
        let empty = space.mutations.count
        try values.withView { (view) throws(ServerError) in
            for index in 0..<cells.values.count {
                if let bytes = cells.values.marked(index, view), bytes.count <= limits.maxValueSize {
                    space.mutations.cell(
                        column: cells.columns[index], timestamp: times.timestamp, ttl: times.ttl,
                        expires: times.expires, value: bytes)
                    continue
                }
                space.value.removeAll()
                let presence = try cells.values.write(index, values, &space.context, to: &space.value)
                try encodeCell(cells.columns[index], presence, times, &space)
            }
        }
        endRow(start: start, isEmpty: !compiled.writesRowMarker && space.mutations.count == empty, &space)
    }

    /// Appends a cell with the value in `value`, or its tombstone.
    @inline(__always) private func encodeCell(
        _ column: Int, _ presence: ValuePresence, _ times: WriteTimes, _ space: inout Workspace
    ) throws(ServerError) {
        switch presence {
        case .value:
            guard space.value.count <= limits.maxValueSize else {
                throw .invalid(
                    "A value of \(space.value.count) bytes is larger than \(limits.maxValueSize) (max_value_size)")
            }
            space.mutations.cell(
                column: column, timestamp: times.timestamp, ttl: times.ttl, expires: times.expires,
                value: space.value.bytes)
        case .null: space.mutations.tombstone(column: column, deletion: times.deletion)
        case .unset: break
        }
    }

    /// Ends the row, or removes it if it is empty.
    @inline(__always) private func endRow(start: Int, isEmpty: Bool, _ space: inout Workspace) {
        space.mutations.endRow()
        if isEmpty { space.mutations.out.truncate(to: start) }
    }

    /// Appends a row by encoding its operations one by one.
    private func encodeRow(
        _ operations: [ColumnOperation], liveness: Bool, _ values: ValueList, _ times: WriteTimes,
        space: inout Workspace
    ) throws(ServerError) {
        let start = space.mutations.count
        var lists: ListContents?
        if plan.requiresRead && operations.contains(where: { $0.requiresRead }) {
            lists = try ListContents.read(operations, table: table, key: space.key, port: port, now: times.now)
        }
        space.mutations.beginRow(
            key: space.key, timestamp: times.timestamp, liveness: liveness, ttl: times.ttl, expires: times.expires)
        let empty = space.mutations.count
        for index in operations.indices {
            let operation = operations[index]
            if case .set(let term) = operation.action, !operation.column.type.isMultiCell {
                space.value.removeAll()
                let presence = try term.write(values, &space.context, to: &space.value)
                try encodeCell(operation.column.id, presence, times, &space)
            } else {
                try CellOperations.encode(operation, values, times, lists: lists, space: &space)
            }
        }
        endRow(start: start, isEmpty: !liveness && space.mutations.count == empty, &space)
    }
}

/// Evaluates USING TIMESTAMP and USING TTL.
enum WriteTerms {
    /// - Returns: nil when the marker is unset.
    static func timestamp(_ term: Term, _ values: ValueList, _ context: inout EvaluationContext) throws(ServerError)
        -> Int64?
    {
        let (presence, bytes) = try term.array(values, &context)
        switch presence {
        case .unset: return nil
        case .null: throw .invalid("Invalid null value of timestamp")
        case .value:
            guard bytes.count == 8 else { throw .invalid("Invalid timestamp value") }
            return Int64(bitPattern: bytes.reduce(0) { $0 << 8 | UInt64($1) })
        }
    }

    static func timeToLive(
        _ term: Term?, _ values: ValueList, _ context: inout EvaluationContext, default defaultSeconds: UInt32
    ) throws(ServerError) -> UInt32 {
        guard let term else { return defaultSeconds }
        let (presence, bytes) = try term.array(values, &context)
        switch presence {
        case .unset: return defaultSeconds
        case .null: return 0
        case .value:
            guard bytes.count == 4 else { throw .invalid("Invalid TTL value") }
            let seconds = Int(Int32(bitPattern: bytes.reduce(0) { $0 << 8 | UInt32($1) }))
            guard seconds >= 0 else { throw .invalid("A TTL must be greater or equal to 0, but was \(seconds)") }
            guard seconds <= TableOptions.maximumTimeToLive else {
                throw .invalid("ttl is too large. requested (\(seconds)) maximum (\(TableOptions.maximumTimeToLive))")
            }
            return UInt32(seconds)
        }
    }
}
