import DataModel
import Primitives

/// The values of one row's columns as native-protocol bytes, borrowed from the row, from its key, or from internal
/// buffers.
///
/// Call `enterPartition`, then `loadStatic` if there is a static row, then `load` for each row. A slot's value is valid
/// until the next `load`; values of the partition key and of static columns until the next `enterPartition`.
struct RowDecoder: ~Copyable {
    private struct Slot {
        /// Points into the row, the static row or the partition key.
        var borrowed = UnsafeRawBufferPointer(start: nil, count: 0)
        /// The value's position in a buffer, if it had to be built.
        var start = 0
        var count = 0
        var place = Place.null
        var timestamp: Int64 = .min
        /// Seconds since 1970; `UInt32.max`: does not expire.
        var expires: UInt32 = .max
    }

    private enum Place: UInt8 { case null, borrowed, built, builtStatic }

    private(set) var layout: SlotLayout?
    private var slots: [Slot] = []
    private var built = ByteWriter(capacity: 256)
    private var builtStatic = ByteWriter(capacity: 64)
    /// A copy of the engine key's partition.
    private(set) var partition = ByteWriter(capacity: 64)
    private var staticRow = ByteWriter(capacity: 64)
    /// Whether the partition has a live static row.
    private(set) var hasLiveStatic = false
    /// Dead cells and rows seen since `configure`.
    private(set) var tombstones = 0

    init() {}

    mutating func configure(_ layout: SlotLayout) {
        self.layout = layout
        slots.removeAll(keepingCapacity: true)
        for _ in 0..<layout.columns.count { slots.append(Slot()) }
        partition.removeAll()
        hasLiveStatic = false
        tombstones = 0
    }

    /// Whether the key begins with the current partition.
    @inline(__always) func isInPartition(_ key: UnsafeRawBufferPointer) -> Bool {
        let count = partition.count
        guard count > 0, key.count >= count else { return false }
        return compareBytes(partition.bytes, UnsafeRawBufferPointer(rebasing: key[..<count])) == 0
    }

    /// Begins a partition: fills the slots of its key and clears the static values.
    /// - Parameter key: an engine key, or only its partition.
    mutating func enterPartition(_ key: UnsafeRawBufferPointer) throws(KeyError) {
        guard let layout else { return }
        partition.removeAll()
        partition.write(UnsafeRawBufferPointer(rebasing: key[..<KeyView.partitionCount(of: key)]))
        hasLiveStatic = false
        for slot in layout.staticSlots { slots[slot] = Slot() }
        guard !layout.partitionSlots.isEmpty else { return }
        let serialized = KeyView(partition.bytes).serializedPartitionKey
        let count = layout.table.partitionKey.count
        if count == 1 {
            for slot in layout.partitionSlots {
                slots[slot].borrowed = serialized
                slots[slot].place = .borrowed
            }
            return
        }
        let ranges = try KeyEncoding.partitionComponents(serialized, count: count)
        for slot in layout.partitionSlots {
            guard case .partition(let position) = layout.sources[slot] else { continue }
            slots[slot].borrowed = UnsafeRawBufferPointer(rebasing: serialized[ranges[position]])
            slots[slot].place = .borrowed
        }
    }

    /// Copies the partition's static row and fills the static slots.
    mutating func loadStatic(_ row: RowView, now: UInt32) throws(KeyError) {
        guard let layout else { return }
        staticRow.removeAll()
        staticRow.write(row.bytes)
        builtStatic.removeAll()
        for slot in layout.staticSlots { slots[slot] = Slot() }
        hasLiveStatic = try RowDecoder.fill(
            RowView(staticRow.bytes), layout: layout, now: now, place: .builtStatic, slots: &slots, built: &builtStatic,
            tombstones: &tombstones)
    }

    /// Fills the slots from a row.
    /// - Returns: whether the row is live.
    mutating func load(key: UnsafeRawBufferPointer, row: RowView, now: UInt32) throws(KeyError) -> Bool {
        guard let layout else { return false }
        for slot in layout.rowSlots { slots[slot].place = .null }
        built.removeAll()
        let live = try RowDecoder.fill(
            row, layout: layout, now: now, place: .built, slots: &slots, built: &built, tombstones: &tombstones)
        if live && layout.clusteringDepth > 0 { try loadClustering(key, layout) }
        return live
    }

    /// Clears the row's slots: all are null except those of the partition key and the static columns.
    mutating func loadMissingRow() {
        guard let layout else { return }
        for slot in layout.rowSlots { slots[slot].place = .null }
        built.removeAll()
    }

    private mutating func loadClustering(_ key: UnsafeRawBufferPointer, _ layout: SlotLayout) throws(KeyError) {
        let components = KeyView(key).clustering
        var offset = 0
        for position in 0..<layout.clusteringDepth {
            let column = layout.table.clustering[position]
            let start = built.count
            try KeyEncoding.nextClusteringComponent(
                components, at: &offset, type: column.type, descending: column.isDescending, into: &built)
            let slot = layout.slotByClustering[position]
            guard slot >= 0 else { continue }
            slots[slot].start = start
            slots[slot].count = built.count - start
            slots[slot].place = .built
        }
    }

    private static func fill(
        _ row: RowView, layout: SlotLayout, now: UInt32, place: Place, slots: inout [Slot], built: inout ByteWriter,
        tombstones: inout Int
    ) throws(KeyError) -> Bool {
        var live = row.hasLiveness && row.livenessExpires > now
        var cells = row.cells
        var dead = 0
        // The collection being built: its slot, its start in the buffer, its number of elements.
        var collection = -1
        var start = 0
        var elements = 0
        while cells.advance() {
            guard cells.column < layout.slotByColumnID.count else { continue }
            let slot = Int(layout.slotByColumnID[cells.column])
            if slot == Int(SlotLayout.unknown) { continue }
            if slot != collection && collection >= 0 {
                finish(&slots[collection], start: start, elements: elements, place: place, built: &built)
                collection = -1
            }
            guard cells.isLive(now: now) else {
                if !cells.isComplexDeletion { dead += 1 }
                continue
            }
            live = true
            guard slot >= 0 else { continue }
            switch layout.shapes[slot] {
            case .plain:
                slots[slot].borrowed = cells.value
                slots[slot].place = .borrowed
                slots[slot].timestamp = cells.timestamp
            case .counter:
                slots[slot].timestamp = cells.timestamp
                slots[slot].start = built.count
                slots[slot].count = 8
                slots[slot].place = place
                built.writeBE(CounterValue.total(cells.value))
            case .collection:
                if collection < 0 {
                    collection = slot
                    start = built.count
                    elements = 0
                    slots[slot].timestamp = .min
                    built.writeBE(Int32(0))
                }
                elements += 1
                slots[slot].timestamp = max(slots[slot].timestamp, cells.timestamp)
                try append(cells, source: layout.sources[slot], to: &built)
            case .key: break
            }
            slots[slot].expires = cells.isExpiring ? cells.localDeletion : .max
        }
        if collection >= 0 { finish(&slots[collection], start: start, elements: elements, place: place, built: &built) }
        if !live && dead == 0 { dead = 1 }
        tombstones += dead
        return live
    }

    private static func append(_ cell: CellCursor, source: SlotLayout.Source, to built: inout ByteWriter)
        throws(KeyError)
    {
        switch source {
        case .set(let element): try appendPath(cell.path, type: element, to: &built)
        case .map(let key):
            try appendPath(cell.path, type: key, to: &built)
            built.writeBE(Int32(cell.value.count))
            built.write(cell.value)
        default:
            built.writeBE(Int32(cell.value.count))
            built.write(cell.value)
        }
    }

    private static func appendPath(_ path: UnsafeRawBufferPointer, type: CQLType, to built: inout ByteWriter)
        throws(KeyError)
    {
        let lengthAt = built.count
        built.writeBE(Int32(0))
        try KeyEncoding.decodePath(path, type: type, into: &built)
        built.patchBE(Int32(built.count - lengthAt - 4), at: lengthAt)
    }

    private static func finish(_ slot: inout Slot, start: Int, elements: Int, place: Place, built: inout ByteWriter) {
        built.patchBE(Int32(elements), at: start)
        slot.start = start
        slot.count = built.count - start
        slot.place = place
    }

    /// The slot's value; nil when null.
    @inline(__always) func value(_ slot: Int) -> UnsafeRawBufferPointer? {
        let entry = slots[slot]
        switch entry.place {
        case .null: return nil
        case .borrowed: return entry.borrowed
        case .built: return UnsafeRawBufferPointer(rebasing: built.bytes[entry.start..<entry.start + entry.count])
        case .builtStatic:
            return UnsafeRawBufferPointer(rebasing: builtStatic.bytes[entry.start..<entry.start + entry.count])
        }
    }

    func array(_ slot: Int) -> [UInt8]? { value(slot).map { [UInt8]($0) } }

    /// Microseconds; nil when the value is null or a key column.
    func writeTime(_ slot: Int) -> Int64? {
        guard slots[slot].place != .null, layout?.shapes[slot] != .key else { return nil }
        return slots[slot].timestamp
    }

    /// Remaining seconds; nil when the value is null or does not expire.
    func timeToLive(_ slot: Int, now: UInt32) -> Int32? {
        guard slots[slot].place != .null, slots[slot].expires != .max, slots[slot].expires > now else { return nil }
        return Int32(truncatingIfNeeded: slots[slot].expires - now)
    }

    /// Appends the slot's value as a result cell: length and bytes.
    @inline(__always) func write(_ slot: Int, to output: inout ByteWriter) {
        guard let value = value(slot) else {
            output.writeBE(Int32(-1))
            return
        }
        output.writeBE(Int32(value.count))
        output.write(value)
    }
}
