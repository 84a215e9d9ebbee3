import CQL
import Coordinator
import DataModel
import Messages
import Primitives

/// Runs a lightweight transaction: no other transaction of the partition runs between its read and its write.
///
/// 1. All statements name one partition; `ReplicaPort.withTransaction` isolates it.
/// 2. For each conditional statement, read its row and the partition's static row, and evaluate its condition.
/// 3. If all conditions hold, write every statement with one new timestamp. Otherwise return the rows found.
struct ConditionalExecutor {
    let items: [BoundModification]
    let isBatch: Bool
    let port: any ReplicaPort
    let limits: QueryLimits

    private struct Row {
        var key: [UInt8]
        var exists: Bool
        /// The values of all columns of the table.
        var cells: [[UInt8]?]
        /// The newest timestamp among the cells read.
        var newest: Int64
    }

    /// - Parameter nextTimestamp: called inside the transaction, so that the write is newer than the rows read.
    func run(now: UInt32, nextTimestamp: () -> Int64, space: inout Workspace) throws(ServerError) -> StatementResult {
        guard let first = items.first else { return .void }
        let table = first.compiled.plan.table
        let partition = try partition(table, &space)
        var outcome: Result<StatementResult, ServerError> = .success(.void)
        do throws(ReplicaError) {
            try port.withTransaction(table: table.id, partition: partition, reading: firstKey(partition, table, &space))
            {
                do throws(ServerError) {
                    outcome = .success(try decide(table, partition, now, nextTimestamp, &space))
                    return true
                } catch {
                    outcome = .failure(error)
                    return false
                }
            }
        } catch { throw ServerError(error) }
        return try outcome.get()
    }

    /// Returns the one partition that all statements name.
    private func partition(_ table: TableMetadata, _ space: inout Workspace) throws(ServerError) -> [UInt8] {
        var found: [UInt8]?
        for (index, item) in items.enumerated() {
            space.context.statement = index
            guard item.compiled.plan.table.id == table.id else {
                throw .invalid("Batch with conditions cannot span multiple tables")
            }
            let partitions = try PartitionKeys.all(
                item.compiled.plan.partition, table: table, values: item.values, context: &space.context,
                limits: limits)
            guard partitions.count == 1, found == nil || found == partitions[0] else {
                throw .invalid(
                    isBatch
                        ? "Batch with conditions cannot span multiple partitions"
                        : "IN on the partition key is not supported with conditional updates")
            }
            found = partitions[0]
        }
        return found ?? []
    }

    /// Returns the key that `decide` reads first; nil when it is not known in advance.
    private func firstKey(_ partition: [UInt8], _ table: TableMetadata, _ space: inout Workspace) -> [UInt8]? {
        guard let index = items.firstIndex(where: { $0.compiled.plan.isConditional }) else { return nil }
        space.key.removeAll()
        space.key.write(partition)
        if table.hasStatics {
            KeyEncoding.beginStatic(into: &space.key)
            return space.key.toArray()
        }
        guard let single = items[index].compiled.single else { return nil }
        space.context.statement = index
        // An invalid value is reported later, when the row is read.
        do throws(ServerError) {
            try single.appendClustering(items[index].values, &space.context, value: &space.value, key: &space.key)
        } catch { return nil }
        return space.key.toArray()
    }

    private func decide(
        _ table: TableMetadata, _ partition: [UInt8], _ now: UInt32, _ nextTimestamp: () -> Int64,
        _ space: inout Workspace
    ) throws(ServerError) -> StatementResult {
        let check = ConditionCheck(table: table)
        var slots = RowDecoder()
        slots.configure(check.layout)
        var rows: [Row] = []
        var applies = true
        for (index, item) in items.enumerated() where item.compiled.plan.isConditional {
            space.context.statement = index
            let row = try read(item, table, partition, now, &slots, &space)
            if !rows.contains(where: { $0.key == row.key }) { rows.append(row) }
            if try !check.holds(
                item.compiled.plan.condition, exists: row.exists, row.cells, item.values, &space.context)
            {
                applies = false
            }
        }
        guard applies else { return .rows(refusal(table, rows)) }
        // Even if the clock went back while the node was down, the write is newer than the rows it depends on.
        let newest = rows.reduce(Int64.min) { max($0, $1.newest) }
        let timestamp = port.transactionTimestamp ?? max(nextTimestamp(), newest == .max ? newest : newest + 1)
        space.mutations.removeAll()
        for (index, item) in items.enumerated() {
            space.context.statement = index
            let encoder = ModificationEncoder(compiled: item.compiled, port: port, limits: limits)
            var times = try encoder.times(item.values, timestamp: timestamp, now: now, &space.context)
            times.timestamp = timestamp
            try encoder.encode(item.values, times, space: &space)
        }
        if space.mutations.count > 0 {
            do throws(ReplicaError) { try port.apply(space.mutations, type: .cas) } catch { throw ServerError(error) }
        }
        let metadata = ResultMetadata(columns: [ConditionalExecutor.appliedColumn(table)])
        return .rows(ResultRows(metadata: metadata, rowCount: 1, cells: [0, 0, 0, 1, 1]))
    }

    static func appliedColumn(_ table: TableMetadata) -> ColumnSpec {
        ColumnSpec(keyspace: table.keyspace, table: table.name, name: "[applied]", type: .boolean)
    }

    private func read(
        _ item: BoundModification, _ table: TableMetadata, _ partition: [UInt8],
        _ now: UInt32,
        _ slots: inout RowDecoder, _ space: inout Workspace
    ) throws(ServerError) -> Row {
        var failure: ServerError?
        var newest = Int64.min
        do throws(KeyError) {
            try partition.withUnsafeBytesTyped { (raw) throws(KeyError) in try slots.enterPartition(raw) }
        } catch { throw ServerError(error) }
        space.key.removeAll()
        space.key.write(partition)
        if table.hasStatics {
            KeyEncoding.beginStatic(into: &space.key)
            do throws(ReplicaError) {
                try port.get(table: table.id, key: space.key) { row in
                    newest = max(newest, row.newestTimestamp)
                    do throws(KeyError) { try slots.loadStatic(row, now: now) } catch { failure = ServerError(error) }
                }
            } catch { throw ServerError(error) }
            if let failure { throw failure }
        }
        // The slots borrow the row, which is valid only during the visit, so copy the values.
        func copy(_ slots: borrowing RowDecoder) -> [[UInt8]?] {
            var cells: [[UInt8]?] = []
            for index in table.columns.indices { cells.append(slots.array(index)) }
            return cells
        }
        slots.loadMissingRow()
        var cells = copy(slots)
        var exists = slots.hasLiveStatic
        if !item.compiled.plan.affectsOnlyStatics {
            exists = false
            space.key.truncate(to: partition.count)
            guard let single = item.compiled.single else {
                throw .invalid(
                    "Conditional updates must name one row: IN and ranges on clustering columns are not supported with IF"
                )
            }
            try single.appendClustering(item.values, &space.context, value: &space.value, key: &space.key)
            let key = space.key.bytes
            do throws(ReplicaError) {
                try port.get(table: table.id, key: space.key) { row in
                    newest = max(newest, row.newestTimestamp)
                    do throws(KeyError) { exists = try slots.load(key: key, row: row, now: now) } catch {
                        failure = ServerError(error)
                    }
                    if exists { cells = copy(slots) }
                }
            } catch { throw ServerError(error) }
            if let failure { throw failure }
        }
        return Row(key: space.key.toArray(), exists: exists, cells: cells, newest: newest)
    }

    /// Returns `[applied]` false with the current rows.
    private func refusal(_ table: TableMetadata, _ rows: [Row]) -> ResultRows {
        var shown: [ColumnMetadata]? = []
        for item in items where item.compiled.plan.isConditional {
            guard let columns = ConditionCheck.shownColumns(item.compiled.plan.condition) else {
                shown = nil
                break
            }
            for column in columns where shown?.contains(where: { $0.name == column.name }) == false {
                shown?.append(column)
            }
        }
        var columns = shown ?? (isBatch ? table.statics + table.regulars : table.columns)
        if isBatch { columns = table.primaryKey + columns.filter { !$0.isPrimaryKey } }
        var found = rows.filter(\.exists)
        if found.isEmpty, let row = rows.first,
            columns.contains(where: { !$0.isPrimaryKey && value(of: $0, in: row, table) != nil })
        {
            // There is no row, but the partition has a static row.
            found = [row]
        }
        var specs = [ConditionalExecutor.appliedColumn(table)]
        var cells = ByteWriter(capacity: 256)
        if !found.isEmpty {
            specs += columns.map {
                ColumnSpec(keyspace: table.keyspace, table: table.name, name: $0.name, type: $0.type)
            }
        }
        for row in found.isEmpty ? [Row(key: [], exists: false, cells: [], newest: .min)] : found {
            cells.writeBE(Int32(1))
            cells.write(0)
            guard !found.isEmpty else { continue }
            for column in columns {
                let value = value(of: column, in: row, table)
                cells.writeBE(Int32(value?.count ?? -1))
                if let value { cells.write(value) }
            }
        }
        return ResultRows(
            metadata: ResultMetadata(columns: specs), rowCount: max(1, found.count), cells: cells.toArray())
    }

    private func value(of column: ColumnMetadata, in row: Row, _ table: TableMetadata) -> [UInt8]? {
        table.columnIndex(named: column.name).flatMap { row.cells[$0] }
    }
}
