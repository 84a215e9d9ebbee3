/// Identifies an operation of a coordinator, or one of the requests it has sent.
///
///     id := 0 (2 bits) generation (26 bits) slot (20 bits) number (16 bits)
///
/// The number of a request counts from 1; 0 stands for the operation itself. The generation of a slot grows with every
/// operation in it, so that the reply to an earlier one is recognized.
struct OperationID: Equatable {
    let value: UInt64

    init(_ value: UInt64) { self.value = value }

    init(generation: UInt32, slot: Int) {
        value = UInt64(generation & OperationID.lastGeneration) << 36 | UInt64(slot) << 16
    }

    static let none = OperationID(0)
    static let lastGeneration: UInt32 = (1 << 26) - 1
    static let lastSlot = (1 << 20) - 1
    static let lastNumber = (1 << 16) - 1

    var generation: UInt32 { UInt32(truncatingIfNeeded: value >> 36) & OperationID.lastGeneration }
    var slot: Int { Int(truncatingIfNeeded: value >> 16) & OperationID.lastSlot }
    var number: Int { Int(truncatingIfNeeded: value) & OperationID.lastNumber }

    /// The id of this operation's request with that number.
    func request(_ number: Int) -> UInt64 { value | UInt64(number) }
}

/// The operations of a coordinator, found by the slot in their id. Freed slots are used again, the last one first.
struct OperationSlots {
    private struct Slot {
        var generation: UInt32
        var operation: Operation?
    }

    private var slots: ContiguousArray<Slot>
    private var free: [Int32] = []
    private let firstGeneration: UInt32
    private var unused: UInt32

    /// - Parameter generation: of the first operation in each slot.
    init(generation: UInt32) {
        firstGeneration = generation
        unused = generation
        // Slot 0 is for requests without an operation.
        slots = [Slot(generation: generation, operation: nil)]
    }

    mutating func add(_ operation: Operation) -> OperationID {
        if let place = free.popLast() {
            let slot = Int(place)
            slots[slot].operation = operation
            return OperationID(generation: slots[slot].generation, slot: slot)
        }
        precondition(slots.count <= OperationID.lastSlot, "the limit of operations is far below the number of slots")
        slots.append(Slot(generation: firstGeneration, operation: operation))
        return OperationID(generation: firstGeneration, slot: slots.count - 1)
    }

    mutating func remove(_ id: OperationID) {
        let slot = id.slot
        slots[slot].operation = nil
        slots[slot].generation = (slots[slot].generation &+ 1) & OperationID.lastGeneration
        free.append(Int32(slot))
    }

    /// The operation with that id, or whose request has that id; nil when its slot was freed.
    func operation(_ id: OperationID) -> Operation? {
        let slot = id.slot
        guard slot < slots.count, slots[slot].generation == id.generation else { return nil }
        return slots[slot].operation
    }

    func operation(inSlot slot: Int) -> Operation? { slots[slot].operation }

    func contains(_ id: OperationID) -> Bool { operation(id) != nil }

    /// An id of no operation, different from the last ones.
    mutating func unusedID() -> UInt64 {
        unused = (unused &+ 1) & OperationID.lastGeneration
        return OperationID(generation: unused, slot: 0).request(1)
    }
}
