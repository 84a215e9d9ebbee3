import CQL
import DataModel
import Primitives

/// The rows of an answer that is sorted after reading (ORDER BY over several partitions).
struct SortState {
    private var rows: [(key: [UInt8], cells: Range<Int>)] = []

    mutating func reset() { rows.removeAll(keepingCapacity: true) }

    /// Records the position of a row's cells and its sort key.
    mutating func add(_ cells: Range<Int>, _ plan: SelectPlan, _ slots: borrowing RowDecoder) throws(ServerError) {
        var key = ByteWriter(capacity: 64)
        for (slot, isDescending) in plan.postSort {
            let value = slots.value(slot) ?? UnsafeRawBufferPointer(start: nil, count: 0)
            do throws(KeyError) {
                try KeyEncoding.addClusteringComponent(
                    value, type: plan.selection.columns[slot].type, descending: isDescending, into: &key)
            } catch { throw ServerError(error) }
        }
        rows.append((key.toArray(), cells))
    }

    /// Sorts the cells and keeps the first `limit` rows.
    /// - Returns: the number of rows kept.
    mutating func apply(to output: inout ByteWriter, limit: Int) -> Int {
        let order = rows.indices.sorted {
            let difference = compareBytes(rows[$0].key, rows[$1].key)
            return difference != 0 ? difference < 0 : $0 < $1
        }
        var sorted = ByteWriter(capacity: output.count)
        for index in order.prefix(limit) {
            sorted.write(UnsafeRawBufferPointer(rebasing: output.bytes[rows[index].cells]))
        }
        output.removeAll()
        output.write(sorted.bytes)
        return min(limit, rows.count)
    }
}
