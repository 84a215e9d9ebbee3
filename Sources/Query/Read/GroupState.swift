import CQL
import DataModel
import Primitives

/// The current group of a SELECT with aggregates.
struct GroupState: ~Copyable {
    private(set) var isOpen = false
    private var key = ByteWriter(capacity: 64)
    private var scratch = ByteWriter(capacity: 64)
    private var accumulators: [AggregateState] = []
    private var values: [[UInt8]?] = []
    private var times: [Int64?] = []
    private var lifetimes: [Int32?] = []

    init() {}

    mutating func reset() { isOpen = false }

    /// The length of the key prefix that identifies the key's group.
    mutating func prefixCount(of engineKey: UnsafeRawBufferPointer, _ plan: SelectPlan) throws(ServerError) -> Int {
        let partition = KeyView.partitionCount(of: engineKey)
        let components = plan.groupByPrefixCount - plan.table.partitionKey.count
        guard components > 0, engineKey.count > partition else { return partition }
        let clustering = KeyView(engineKey).clustering
        var offset = 0
        scratch.removeAll()
        for column in plan.table.clustering.prefix(components) {
            do throws(KeyError) {
                try KeyEncoding.nextClusteringComponent(
                    clustering, at: &offset, type: column.type, descending: column.isDescending, into: &scratch)
            } catch { throw ServerError(error) }
        }
        return partition + 1 + offset
    }

    func continues(_ engineKey: UnsafeRawBufferPointer, _ prefix: Int) -> Bool {
        isOpen && key.count == prefix
            && compareBytes(key.bytes, UnsafeRawBufferPointer(rebasing: engineKey[..<prefix])) == 0
    }

    func isInPartition(_ partition: UnsafeRawBufferPointer) -> Bool {
        key.count >= partition.count
            && compareBytes(UnsafeRawBufferPointer(rebasing: key.bytes[..<partition.count]), partition) == 0
    }

    mutating func open(_ engineKey: UnsafeRawBufferPointer, _ prefix: Int) {
        isOpen = true
        key.removeAll()
        key.write(UnsafeRawBufferPointer(rebasing: engineKey[..<prefix]))
    }

    mutating func close() { isOpen = false }

    mutating func makeAccumulators(_ aggregates: [Aggregate]) {
        accumulators.removeAll(keepingCapacity: true)
        for aggregate in aggregates { accumulators.append(AggregateState(aggregate.function)) }
    }

    /// Stores the group's first row: it supplies the columns outside aggregates.
    mutating func keep(_ slots: borrowing RowDecoder, columns: Int, now: UInt32) {
        keepEmptyRow(columns: columns)
        for slot in 0..<columns {
            values[slot] = slots.array(slot)
            times[slot] = slots.writeTime(slot)
            lifetimes[slot] = slots.timeToLive(slot, now: now)
        }
    }

    mutating func keepEmptyRow(columns: Int) {
        values = [[UInt8]?](repeating: nil, count: columns)
        times = [Int64?](repeating: nil, count: columns)
        lifetimes = [Int32?](repeating: nil, count: columns)
    }

    func value(_ slot: Int) -> [UInt8]? { values[slot] }
    func writeTime(_ slot: Int) -> Int64? { times[slot] }
    func timeToLive(_ slot: Int) -> Int32? { lifetimes[slot] }

    mutating func add(_ value: UnsafeRawBufferPointer?, to index: Int) throws(ServerError) {
        try accumulators[index].add(value)
    }

    func result(_ index: Int) throws(ServerError) -> [UInt8]? {
        return try accumulators[index].result()
    }
}
